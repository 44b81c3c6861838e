//! What the program says when it is used wrongly, and its help.

use super::Program;

#[test]
fn without_a_command_it_helps() {
    let said = Program::new().run(&[]);
    assert_eq!(said.code, Some(2));
    for command in
        ["run", "migrate", "check", "submit", "status", "order", "customer", "maintenance", "backlog", "verify"]
    {
        assert!(said.err.lines().any(|line| line.trim_start().starts_with(command)), "{command}: {}", said.err);
        let help = Program::new().run(&[command, "--help"]);
        assert_eq!(help.code, Some(0), "{command}");
        assert!(help.out.contains("Usage: millrace") && help.out.contains("--config <FILE>"), "{}", help.out);
    }
    let version = Program::new().run(&["--version"]);
    assert_eq!((version.code, version.out.trim()), (Some(0), concat!("millrace ", env!("CARGO_PKG_VERSION"))));
}

#[test]
fn a_slip_is_answered_with_what_to_type() {
    for (arguments, says) in [
        (&["verfy"][..], "a similar subcommand exists: 'verify'"),
        (&["check", "--jsn"], "a similar argument exists: '--json'"),
        (&["order"], "Usage: millrace order <ID>"),
        (&["customer"], "Usage: millrace customer <ID>"),
        (&["submit"], "<FILE>"),
        (&["verify", "--manifest"], "--manifest <FILE>"),
        (&["migrate", "--actor", "me"], "--accept-queue"),
        (&["status", "--live", "--json"], "cannot be used with"),
        (&["maintenance"], "begin"),
        (&["maintenance", "begin"], "--reason <TEXT>"),
        (&["maintenance", "begin", "--reason", ""], "--reason <TEXT>"),
        (
            &["maintenance", "begin", "--reason", "x", "--actor", "me", "--until", "soon"],
            "--until soon: expected a span",
        ),
        (&["maintenance", "begin", "--reason", "x"], "--actor NAME"),
        (&["maintenance", "end"], "--actor NAME"),
        (&["maintenance", "end", "--wait", "long"], "--wait <DURATION>"),
        (&["backlog"], "watch"),
    ] {
        let said = Program::with_settings().run(arguments);
        assert_eq!(said.code, Some(2), "{arguments:?}");
        assert!(said.err.contains(says), "{arguments:?}: {}", said.err);
        assert!(said.out.is_empty(), "{arguments:?}: {}", said.out);
    }
}

#[test]
fn wrong_settings_are_wrong_use() {
    let program = Program::new();
    for command in [&["run"][..], &["migrate"], &["check"], &["status", "--live"], &["order", "o"], &["verify"]] {
        let said = program.run(command);
        assert_eq!(said.code, Some(2), "{command:?}");
        assert!(said.err.contains("inbox.queue_url: missing") && said.err.contains("MILLRACE_CONFIG"), "{}", said.err);
    }

    let file = "[inbox]\nqueue_url = 'http://h/q'\nbatch = 11\n[ledger]\nurl = 'mysql://u:hunter2@h/d'\n";
    let path = program.write("wrong.toml", file);
    let said = program.run(&["check", "--config", path.to_str().unwrap()]);
    assert_eq!(said.code, Some(2));
    for part in ["inbox.batch = 11: must be 1 to 10", "ledger.url = mysql://u:***@h/d: MySQL comes in a later version"]
    {
        assert!(said.err.contains(part), "{}", said.err);
    }
    assert!(!said.err.contains("hunter2") && !said.out.contains("hunter2"));

    let said = program.run(&["check", "--config", "nothing.toml"]);
    assert_eq!(said.code, Some(2));
    assert!(said.err.contains("nothing.toml: cannot be read"), "{}", said.err);
}

#[test]
fn the_file_may_be_named_by_a_variable() {
    let mut program = Program::new();
    let path = program.write("wrong.toml", "[inbox]\nqueue = 'http://h/q'\n");
    program.set("MILLRACE_CONFIG", path.to_str().unwrap());
    let said = program.run(&["check"]);
    assert_eq!(said.code, Some(2));
    assert!(said.err.contains("inbox.queue: unknown key") && said.err.contains("wrong.toml"), "{}", said.err);
}

/// What is deployed by hand is held to the program: the health check's command, the time to stop, the metrics' names.
#[test]
fn what_is_deployed_fits() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/config/");
    let task = std::fs::read_to_string(format!("{root}task-definition.json")).unwrap();
    let task: serde_json::Value = serde_json::from_str(&task).unwrap();
    let container = &task["containerDefinitions"][0];
    assert_eq!(container["stopTimeout"], 30);
    assert_eq!(container["healthCheck"]["command"][0], "CMD", "no shell");
    let command = container["healthCheck"]["command"].as_array().unwrap();
    assert_eq!(command[1], "/usr/local/bin/millrace");
    let mut program = Program::new();
    for list in ["environment", "secrets"] {
        for variable in container[list].as_array().unwrap() {
            let name = variable["name"].as_str().unwrap();
            let url = match name {
                "MILLRACE__LEDGER__URL" | "MILLRACE__LEDGER__READER_URL" => "postgres://u:hunter2@h/orders",
                "MILLRACE__BACKLOG__URL" => "postgres://u:hunter2@b/backlog",
                _ => variable["value"].as_str().unwrap(),
            };
            program.set(name, url);
        }
    }
    program.set("MILLRACE_CONFIG", &format!("{root}production.toml"));
    program.set("MILLRACE__HTTP__LISTEN", "127.0.0.1:1");
    let arguments: Vec<&str> = command[2..].iter().map(|part| part.as_str().unwrap()).collect();
    let said = program.run(&arguments);
    assert_eq!(said.code, Some(1), "the settings are taken, and no engine answers: {}", said.err);

    let alerts = std::fs::read_to_string(format!("{root}alerts.yml")).unwrap();
    let list = concat!(env!("CARGO_MANIFEST_DIR"), "/src/metrics/list.rs");
    let labels = concat!(env!("CARGO_MANIFEST_DIR"), "/src/metrics/labels.rs");
    let (list, labels) = (std::fs::read_to_string(list).unwrap(), std::fs::read_to_string(labels).unwrap());
    let mut seen = 0;
    for word in alerts.split(|letter: char| !(letter.is_ascii_lowercase() || letter == '_')) {
        if word.starts_with("millrace_") {
            let name = word.strip_suffix("_bucket").unwrap_or(word);
            assert!(list.contains(&format!("\"{name}\"")), "alerts.yml names {name}, which is no metric");
            seen += 1;
        }
    }
    assert!(seen > 20);
    for alarm in alerts.split("{kind=\"").skip(1).map(|rest| rest.split('"').next().unwrap()) {
        let is_alarm = labels.contains(&format!("\"{alarm}\"")) || alarm == "out_of_sequence";
        assert!(is_alarm, "alerts.yml names kind {alarm}, which is none");
    }
    let alarms = labels.split("\"kind\": Alarm {").nth(1).and_then(|rest| rest.split('}').next()).unwrap();
    for alarm in alarms.split("= \"").skip(1).map(|rest| rest.split('"').next().unwrap()) {
        // These two have a gauge, which says more than their counter.
        let covered = alerts.contains(&format!("\"{alarm}\"")) || ["locks_away", "blocked"].contains(&alarm);
        assert!(covered, "no alert for the alarm {alarm}");
    }
}
