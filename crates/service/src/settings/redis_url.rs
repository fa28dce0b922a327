//! Finds the problem with a `REDIS_URL`. The message shows only its scheme, because the URL may
//! contain a password; most invalid URLs have a password with a character that must be escaped.
//! Pure.

use queue::redis::SentinelUrl;

const SCHEMES: [&str; 4] = ["redis", "rediss", "redis+unix", "unix"];

/// Returns the problem with a URL, or `None` if it is valid.
pub(super) fn problem(url: &str) -> Option<String> {
    let Some((scheme, rest)) = url.split_once("://") else {
        return Some(
            "has no scheme: it must begin with redis://, rediss://, redis+sentinel://, rediss+sentinel://, \
             redis+unix:// or unix://"
                .to_owned(),
        );
    };
    let sentinel = SentinelUrl::of(url);
    if sentinel.is_none() && !SCHEMES.contains(&scheme) {
        return Some(format!(
            "has the scheme {}, allowed are redis://, rediss://, redis+sentinel://, rediss+sentinel://, \
             redis+unix:// and unix://",
            scheme.escape_debug()
        ));
    }
    if scheme.ends_with("unix") {
        return rest
            .is_empty()
            .then(|| "has no socket path: write unix:///path/to/socket".to_owned());
    }
    let (authority, behind) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let cut_by = behind.chars().next();
    if let (Some(cut_by), true) = (cut_by, behind.contains('@')) {
        return Some(in_password(cut_by));
    }
    let fragment = behind.split_once('#').map(|(_, fragment)| fragment);
    if fragment.is_some_and(|fragment| fragment != "insecure") {
        return Some(in_password('#'));
    }
    let is_hex = |digits: &str| {
        digits.len() >= 2 && digits.as_bytes()[..2].iter().all(u8::is_ascii_hexdigit)
    };
    if authority.split('%').skip(1).any(|behind| !is_hex(behind)) {
        return Some(in_password('%'));
    }
    if let Some(blank) = url.chars().find(|next| next.is_whitespace()) {
        return Some(in_password(blank));
    }
    if let Some(sentinel) = sentinel {
        return sentinel.err();
    }
    let address = authority.rsplit_once('@').map_or(authority, |(_, address)| address);
    if address.contains(['$', '{', '}']) {
        return Some(
            "has a variable as its host, but variables are not expanded: write the host name"
                .to_owned(),
        );
    }
    let (host, port) = match address.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port),
        _ => (address, ""),
    };
    if !(port.is_empty() || port.parse::<u16>().is_ok_and(|port| port > 0)) {
        let what = "has no number from 1 to 65535 as its port; if a password is there, an @ and the host are \
                    missing after it (a # after a blank begins a comment in a file)";
        return Some(what.to_owned());
    }
    host.is_empty().then(|| "has no host: write redis://host:port".to_owned())
}

fn in_password(character: char) -> String {
    let mut bytes = [0; 4];
    let bytes = character.encode_utf8(&mut bytes).bytes();
    let encoded: String = bytes.map(|byte| format!("%{byte:02X}")).collect();
    let shown =
        if character.is_whitespace() { "a blank".to_owned() } else { format!("a {character}") };
    format!(
        "has {shown} where it is not allowed: in a user name or password write {encoded} instead"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valid_redis_urls_are_accepted() {
        for url in [
            "redis://localhost",
            "redis://a:7000/1",
            "rediss://user:p%23ss@a:7000/0#insecure",
            "redis://:pa@ss@a",
            "redis://[::1]:6379",
            "redis://[::1]",
            "redis://a/?protocol=resp3",
            "redis://u:!$&'()*+,;=-._~@a",
            "unix:///run/redis.sock",
            "redis+unix:///run/redis.sock?db=1",
            "redis+sentinel://user:p%23ss@a:26379,b/main/1",
            "rediss+sentinel://a/main#insecure",
        ] {
            assert_eq!(problem(url), None, "{url}");
        }
    }

    #[test]
    fn unescaped_characters_in_a_redis_password_get_a_hint() {
        for (url, word) in [
            ("redis://:seSame#1@a:6379", "write %23"),
            ("redis://:seSame/1@a", "write %2F"),
            ("redis://:seSame?1@a", "write %3F"),
            ("redis://:50%seSame@a", "write %25"),
            ("redis://:seSame 1@a", "write %20"),
            ("redis://a#seSame", "write %23"),
            ("redis://:seSame", "no number"),
            ("redis://a:70000", "no number"),
            ("redis://${REDIS}:6379", "not expanded"),
            ("redis://", "no host"),
            ("redis://:seSame@", "no host"),
            ("localhost:6379", "no scheme"),
            ("http://:seSame@a", "scheme http,"),
            ("redis+sentinel://:seSame/1@a/main", "write %2F"),
            ("redis+sentinel://:50%seSame@a/main", "write %25"),
            ("redis+sentinel://:seSame@a,b", "name of the primary"),
            ("redis-sentinel://:seSame@a/main", "scheme redis-sentinel;"),
        ] {
            let problem = problem(url).unwrap_or_else(|| panic!("{url} has no problem"));
            assert!(problem.contains(word) && !problem.contains("seSame"), "{url}: {problem}");
        }
    }
}
