//! What was found: rule by rule for people, or as one JSON object.

use std::fmt;
use std::process::ExitCode;

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::guards::Guard;

/// How many violations of a rule are told; the rest is counted.
const TOLD: usize = 20;

/// What came of one rule.
#[derive(Debug, Serialize)]
pub(crate) struct Rule {
    #[serde(skip)]
    number: u8,
    name: &'static str,
    checked: usize,
    /// What was checked, in words.
    #[serde(skip)]
    what: String,
    /// Violations, the untold ones too.
    count: usize,
    violations: Vec<String>,
}

impl Rule {
    pub(crate) fn new(number: u8, name: &'static str) -> Self {
        Self { number, name, checked: 0, what: String::new(), count: 0, violations: Vec::new() }
    }

    pub(crate) fn broken(&mut self, violation: impl fmt::Display) {
        self.count += 1;
        if self.violations.len() < TOLD {
            self.violations.push(violation.to_string());
        }
    }

    pub(crate) fn checked(mut self, checked: usize, what: impl fmt::Display) -> Self {
        self.checked = checked;
        self.what = what.to_string();
        self
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    Ok,
    Violated,
    Void,
}

impl Verdict {
    pub(crate) fn exit_code(self) -> ExitCode {
        ExitCode::from(match self {
            Verdict::Ok => 0,
            Verdict::Violated => 1,
            Verdict::Void => 3,
        })
    }
}

#[derive(Debug)]
pub(crate) struct Report {
    rules: Vec<Rule>,
    guards: Vec<Guard>,
    /// Why it says nothing that no rule is violated.
    void: Vec<String>,
}

impl Report {
    pub(crate) fn new(rules: Vec<Rule>, guards: Vec<Guard>, mut void: Vec<String>) -> Self {
        let idle = rules.iter().filter(|rule| rule.checked == 0 && rule.count == 0);
        void.extend(idle.map(|rule| format!("rule {} {}: there was nothing to check", rule.number, rule.name)));
        Self { rules, guards, void }
    }

    pub(crate) fn verdict(&self) -> Verdict {
        if self.rules.iter().any(|rule| rule.count > 0) {
            Verdict::Violated
        } else if self.void.is_empty() {
            Verdict::Ok
        } else {
            Verdict::Void
        }
    }

    pub(crate) fn json(&self) -> Value {
        let rules: Map<_, _> = self.rules.iter().map(|rule| (rule.number.to_string(), json!(rule))).collect();
        let guards: Map<_, _> = self
            .guards
            .iter()
            .map(|guard| (guard.name.to_owned(), json!({ "count": guard.count, "needed": guard.needed })))
            .collect();
        json!({ "rules": rules, "guards": guards, "void": self.void, "verdict": self.verdict() })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for rule in &self.rules {
            let Rule { number, name, checked, what, count, violations } = rule;
            let word = match (count, checked) {
                (0, 0) => "VOID",
                (0, _) => "ok",
                _ => "VIOLATED",
            };
            writeln!(f, "rule {number} {name}: {word}, {what}")?;
            for violation in violations {
                writeln!(f, "  {violation}")?;
            }
            if *count > violations.len() {
                writeln!(f, "  and {} more", grouped(count - violations.len()))?;
            }
        }
        writeln!(f, "\n{:<22} {:>10} {:>10}", "guard", "seen", "needed")?;
        for guard in &self.guards {
            let needed = guard.needed.map_or("-".to_owned(), grouped);
            writeln!(f, "{:<22} {:>10} {needed:>10}", guard.name, grouped(guard.count))?;
        }
        writeln!(f)?;
        for reason in &self.void {
            writeln!(f, "void: {reason}")?;
        }
        f.write_str(match self.verdict() {
            Verdict::Ok => "ok\n",
            Verdict::Violated => "VIOLATED\n",
            Verdict::Void => "VOID\n",
        })
    }
}

/// A number with a comma before every three digits: 12,034.
pub(crate) fn grouped(number: impl fmt::Display) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
