//! `millrace status` against what answers on `http.listen`.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::thread;

use super::{Program, Said};

/// Asks a server that gives this answer once.
fn ask(arguments: &[&str], answer: &'static str) -> (Said, String) {
    let server = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let mut program = Program::with_settings();
    program.set("MILLRACE__HTTP__LISTEN", &server.local_addr().expect("it is bound").to_string());
    let asked = thread::spawn(move || {
        let (mut connection, _) = server.accept().expect("it is asked");
        let mut request = Vec::new();
        let mut part = [0; 512];
        while !request.ends_with(b"\r\n\r\n") {
            let count = connection.read(&mut part).expect("the request comes");
            request.extend_from_slice(&part[..count]);
        }
        connection.write_all(answer.as_bytes()).expect("the answer goes");
        String::from_utf8(request).expect("HTTP is text")
    });
    let said = program.run(arguments);
    (said, asked.join().expect("the server ends"))
}

#[test]
fn nobody_there() {
    let mut program = Program::with_settings();
    program.set("MILLRACE__HTTP__LISTEN", "127.0.0.1:1");
    for arguments in [&["status"][..], &["status", "--json"], &["status", "--live"]] {
        let said = program.run(arguments);
        assert_eq!(said.code, Some(1));
        assert!(said.err.contains("no engine answers on http.listen = 127.0.0.1:1"), "{}", said.err);
    }
}

#[test]
fn live_is_an_exit_code() {
    let (said, request) = ask(&["status", "--live"], "HTTP/1.0 200 OK\r\n\r\nlive\n");
    assert_eq!((said.code, said.out.as_str()), (Some(0), ""));
    assert!(request.starts_with("GET /live HTTP/1.0\r\n"), "{request}");
    let (said, _) = ask(&["status", "--live"], "HTTP/1.0 503 Service Unavailable\r\n\r\ncommitter 2 stands still\n");
    assert_eq!(said.code, Some(1));
    assert!(said.err.contains("503") && said.err.contains("committer 2 stands still"), "{}", said.err);
}

#[test]
fn what_is_no_engine_is_said_to_be_none() {
    for answer in ["", "hello", "HTTP/1.0 200 OK\r\n\r\n{}"] {
        assert_eq!(ask(&["status"], answer).0.code, Some(1), "{answer}");
    }
}
