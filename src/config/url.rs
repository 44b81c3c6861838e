//! URLs as people may see them, without their secrets; and whether two of them name one place.

use std::path::PathBuf;

/// The URL without its password, and without the values of query parameters that name a secret. A user without a
/// password is hidden too: it may be the password.
///
/// A password may itself hold `@`, `/` or `?`, so everything up to the last `@` counts as user and password: this
/// may hide more than it must, never less.
#[must_use]
pub fn redacted(url: &str) -> String {
    // What stands before a later `://` is no scheme, and may hold a password.
    let parts = url.split_once("://").filter(|(scheme, _)| !scheme.contains(['/', '@', '=']));
    let Some((scheme, rest)) = parts else {
        // Not a URL, so nobody knows what it is.
        let rest = SCHEMES.iter().find_map(|scheme| url.strip_prefix(scheme)).unwrap_or(url);
        let hidden = url.contains(['@', '=']) || !has_only_ports(rest);
        return if hidden { "***".to_owned() } else { url.to_owned() };
    };
    let rest = match rest.rsplit_once('@') {
        // Without its `@` a password looks like a port. A path may hold anything.
        None if scheme != "sqlite" && !has_only_ports(rest) => "***".to_owned(),
        None => rest.to_owned(),
        Some((secret, host)) => match secret.split_once(':') {
            Some((user, _)) => format!("{user}:***@{host}"),
            // A name, or a password in the place of one.
            None => format!("***@{host}"),
        },
    };
    match rest.split_once('?') {
        None => format!("{scheme}://{rest}"),
        Some((place, query)) => {
            let query: Vec<String> = query.split('&').map(parameter).collect();
            format!("{scheme}://{place}?{}", query.join("&"))
        }
    }
}

/// How a URL begins whose `//` was forgotten.
const SCHEMES: [&str; 7] = ["sqlite:", "postgres:", "postgresql:", "redis:", "rediss:", "http:", "https:"];

/// Whether behind each `:` before the query there is a port, or nothing.
fn has_only_ports(text: &str) -> bool {
    let place = text.split('?').next().unwrap_or_default();
    // An IPv6 address is in brackets.
    let behind_address = place.rsplit(']').next().unwrap_or_default();
    behind_address.split(':').skip(1).all(|port| {
        let more = port.trim_start_matches(|c: char| c.is_ascii_digit());
        more.is_empty() || more.starts_with(['/', ','])
    })
}

fn parameter(text: &str) -> String {
    match text.split_once('=') {
        Some((name, _)) if ["pass", "secret", "token", "key"].iter().any(|word| name.to_lowercase().contains(word)) => {
            format!("{name}=***")
        }
        _ => text.to_owned(),
    }
}

/// Where a database is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In a file.
    File(PathBuf),
    /// On a server.
    Server {
        /// Host and port.
        server: String,
        /// Its name there.
        database: String,
    },
}

/// Where the database of a `postgres://` or `sqlite://` URL is, as far as its text says. Symbolic links, aliases of a
/// host, and a host that stands in a query parameter are not looked through.
#[must_use]
pub fn place(url: &str) -> Option<Place> {
    let (scheme, rest) = url.split_once("://")?;
    let rest = rest.split_once('?').map_or(rest, |(place, _)| place);
    match scheme {
        "sqlite" => std::path::absolute(rest).ok().map(Place::File),
        "postgres" | "postgresql" => {
            let rest = rest.rsplit_once('@').map_or(rest, |(_, place)| place);
            let (server, database) = rest.split_once('/').unwrap_or((rest, ""));
            let server = server.to_lowercase();
            let server = if server.trim_end_matches(|c: char| c.is_ascii_digit()).ends_with(':') {
                server
            } else {
                format!("{server}:5432")
            };
            Some(Place::Server { server, database: database.to_owned() })
        }
        _ => None,
    }
}
