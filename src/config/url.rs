//! URLs as people may see them: without their secrets.

/// The URL without its password, and without the values of query parameters that name a secret.
///
/// A password may itself hold `@`, `/` or `?`, so everything up to the last `@` counts as user and password: this
/// may hide more than it must, never less.
#[must_use]
pub fn redacted(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        // Not a URL, so nobody knows what it is.
        return if url.contains('@') { "***".to_owned() } else { url.to_owned() };
    };
    let rest = match rest.rsplit_once('@') {
        None => rest.to_owned(),
        Some((secret, host)) => match secret.split_once(':') {
            Some((user, _)) => format!("{user}:***@{host}"),
            None => format!("{secret}@{host}"),
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

fn parameter(text: &str) -> String {
    match text.split_once('=') {
        Some((name, _)) if ["pass", "secret", "token", "key"].iter().any(|word| name.to_lowercase().contains(word)) => {
            format!("{name}=***")
        }
        _ => text.to_owned(),
    }
}
