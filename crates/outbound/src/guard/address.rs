//! Classifies IP addresses after IANA's special-purpose registries
//! (<https://www.iana.org/assignments/iana-ipv4-special-registry>, `…-ipv6-special-registry`). An
//! address that is not known to be public is refused.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether requests may be sent to an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// Public: always allowed.
    Public,
    /// Loopback or private: allowed if the operator allows private addresses.
    Inside,
    /// Never allowed: multicast, reserved ranges, tunnels, clouds' metadata services.
    Never,
}

/// Classifies an address.
pub(super) fn reach(address: IpAddr) -> Reach {
    match address {
        IpAddr::V4(address) => reach_v4(address),
        IpAddr::V6(address) => reach_v6(address),
    }
}

fn reach_v4(address: Ipv4Addr) -> Reach {
    match address.octets() {
        // Metadata services outside 169.254/16: Alibaba's, Azure's.
        [100, 100, 100, 200] | [168, 63, 129, 16] => Reach::Never,
        [127 | 10, ..] | [192, 168, ..] | [172, 16..=31, ..] => Reach::Inside,
        [100, 64..=127, ..] => Reach::Inside, // carrier-grade NAT, also Tailscale
        [0, ..] => Reach::Never,              // this network
        [169, 254, ..] => Reach::Never,       // link-local: metadata services
        [192, 0, 0, _] => Reach::Never,       // IETF protocols; Oracle's metadata service
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => Reach::Never, // documentation
        [192, 88, 99, _] => Reach::Never,     // 6to4 relays
        [198, 18..=19, ..] => Reach::Never,   // benchmarking
        [224..=255, ..] => Reach::Never,      // multicast, reserved, broadcast
        _ => Reach::Public,
    }
}

fn reach_v6(address: Ipv6Addr) -> Reach {
    let segments = address.segments();
    match segments {
        [0, 0, 0, 0, 0, 0, 0, 1] => Reach::Inside, // loopback
        [0xfd00, 0x0ec2, ..] => Reach::Never,      // AWS' metadata service
        [0xfc00..=0xfdff, ..] => Reach::Inside,    // unique local
        // NAT64 leads to the embedded IPv4 address, but in the translator's network: a private
        // address there is not one of the operator's.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            let [a, b] = high.to_be_bytes();
            let [c, d] = low.to_be_bytes();
            match reach_v4(Ipv4Addr::new(a, b, c, d)) {
                Reach::Public => Reach::Public,
                Reach::Inside | Reach::Never => Reach::Never,
            }
        }
        [0x2001, 0..=0x1ff, ..] => Reach::Never, // IETF protocols: Teredo, ORCHID, benchmarking
        [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Reach::Never, // documentation
        [0x2002, ..] => Reach::Never,            // 6to4
        // Global unicast. Outside of it: unspecified, IPv4-mapped and -compatible, discard-only,
        // local NAT64, segment routing, link-local, site-local, multicast, and what is unassigned.
        [0x2000..=0x3fff, ..] => Reach::Public,
        _ => Reach::Never,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_addresses_are_not_public() {
        use Reach::{Inside, Never, Public};
        for (addresses, expected) in [
            ("8.8.8.8 1.1.1.1 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0", Public),
            ("172.15.255.255 172.32.0.0 169.253.0.1 198.17.0.1 198.20.0.1 223.255.255.254", Public),
            ("2606:4700::1111 2a00:1450:4001:80b::200e 2001:4860:4860::8888 3ffe::1", Public),
            ("64:ff9b::8.8.8.8", Public),
            ("127.0.0.1 127.255.255.254 10.0.0.1 10.255.255.255 192.168.0.1", Inside),
            ("172.16.0.1 172.31.255.255 100.64.0.1 100.127.255.255", Inside),
            ("::1 fc00::1 fd12:3456:789a::1 fdff::1", Inside),
            ("0.0.0.0 0.1.2.3 169.254.169.254 192.0.0.192 192.0.2.1 198.51.100.1", Never),
            ("203.0.113.9 192.88.99.1 198.18.0.1 198.19.255.255 224.0.0.1 239.1.2.3", Never),
            ("240.0.0.1 255.255.255.255 100.100.100.200 168.63.129.16", Never),
            (":: ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:8.8.8.8 ::127.0.0.1 ::8.8.8.8", Never),
            ("64:ff9b::127.0.0.1 64:ff9b::10.0.0.1 64:ff9b::169.254.169.254", Never),
            ("64:ff9b:1::8.8.8.8 100::1 2001::1 2001:0:4136:e378::1 2001:2::1", Never),
            ("2001:10::1 2001:20::1 2001:db8::1 3fff::1 3fff:fff::1 2002:7f00:1::1", Never),
            (
                "2002:808:808::1 fe80::1 febf::1 fec0::1 ff02::1 5f00::1 4000::1 fd00:ec2::254",
                Never,
            ),
        ] {
            for address in addresses.split(' ') {
                assert_eq!(reach(address.parse().unwrap()), expected, "{address}");
            }
        }
    }
}
