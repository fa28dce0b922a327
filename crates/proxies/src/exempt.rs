//! Matches hosts against `no_proxy` by curl's rules (<https://curl.se/docs/manpage.html#NOPROXY>);
//! pure.

use std::net::{IpAddr, Ipv6Addr};

/// Returns `true` if requests to `host` bypass the proxy. `list` is the value of `no_proxy`: names,
/// addresses and ranges separated by commas or blanks, or a single `*`.
///
/// A name matches itself and its subdomains, with or without a leading dot. No host matches by
/// default, not even localhost. Beyond curl, a leading `*.` is read as a leading dot.
pub(crate) fn is_exempt(host: &str, list: &str) -> bool {
    if list == "*" {
        return true;
    }
    let mut items = list
        .split(|next: char| next == ',' || next.is_whitespace())
        .filter(|item| !item.is_empty());
    match address(host) {
        Some(host) => items.any(|item| is_in_range(host, item)),
        None => items.any(|item| is_same_or_subdomain(host, item)),
    }
}

/// Parses an IP address with or without brackets.
fn address(host: &str) -> Option<IpAddr> {
    match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(inner) => inner.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => host.parse().ok(),
    }
}

/// Returns `true` if `item` is the address `host`, or a range such as `10.0.0.0/8` that contains
/// it.
fn is_in_range(host: IpAddr, item: &str) -> bool {
    let (first, length) = match item.split_once('/') {
        Some((first, length)) => (first, Some(length)),
        None => (item, None),
    };
    let (Some(first), Ok(length)) = (address(first), length.map(str::parse::<u32>).transpose())
    else {
        return false;
    };
    let same = |differing: u128, width: u32| match length {
        None => differing == 0,
        // Like curl, rejects a prefix length of zero and one that exceeds the address.
        Some(length) => (1..=width).contains(&length) && differing >> (width - length) == 0,
    };
    match (host, first) {
        (IpAddr::V4(host), IpAddr::V4(first)) => {
            same(u128::from(host.to_bits() ^ first.to_bits()), 32)
        }
        (IpAddr::V6(host), IpAddr::V6(first)) => same(host.to_bits() ^ first.to_bits(), 128),
        _ => false,
    }
}

/// Returns `true` if `host` is the name `item` or a subdomain of it.
fn is_same_or_subdomain(host: &str, item: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    let item = item.strip_suffix('.').unwrap_or(item).to_ascii_lowercase();
    let item = item.strip_prefix("*.").unwrap_or(&item);
    let item = item.strip_prefix('.').unwrap_or(item);
    !item.is_empty()
        && host.strip_suffix(item).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_proxy_star_prefix_matches_the_domain_and_subdomains() {
        assert!(
            is_exempt("a.example.com", "*.example.com")
                && is_exempt("example.com", "*.example.com")
        );
        assert!(!is_exempt("anexample.com", "*.example.com"));
    }

    #[test]
    fn no_proxy_cidr_ranges_match_only_their_addresses() {
        for (host, list, exempt) in [
            ("10.1.2.3", "10.0.0.0/8", true),
            ("11.1.2.3", "10.0.0.0/8", false),
            ("192.168.1.130", "192.168.1.128/25", true),
            ("192.168.1.127", "192.168.1.128/25", false),
            ("10.1.2.3", "10.1.2.3/32", true),
            ("[fd00::1]", "fd00::/8", true),
            ("[fe80::1]", "fd00::/8", false),
            ("[::1]", "[::1]", true),
            ("10.1.2.3", "::ffff:10.1.2.3", false),
            ("10.1.2.3", "10.0.0.0/x, 10.1.2.0/24", true),
        ] {
            assert_eq!(is_exempt(host, list), exempt, "{host} in {list}");
        }
    }
}
