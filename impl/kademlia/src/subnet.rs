//! Which contacts share a subnet, so that whoever has one subnet cannot fill a table.
//!
//! What it does not do: tell who owns a subnet. Somebody with many of them gets round any such limit;
//! it makes an eclipse dear, not impossible.

use core::net::IpAddr;

use cloakroom_wire::Address;

/// IPv4 /24 or IPv6 /64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Subnet {
    /// The first three bytes.
    V4([u8; 3]),
    /// The first eight bytes.
    V6([u8; 8]),
}

impl Subnet {
    /// The subnet of an address.
    pub const fn of(address: Address) -> Self {
        match address.ip() {
            IpAddr::V4(ip) => {
                let [a, b, c, _] = ip.octets();
                Self::V4([a, b, c])
            }
            IpAddr::V6(ip) => Self::V6(((ip.to_bits() >> 64) as u64).to_be_bytes()),
        }
    }
}

/// Whether a contact can be reached at this address at all: a port, and an address of one host.
pub(crate) fn is_reachable(address: Address) -> bool {
    let ip = address.ip();
    let broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
    address.port() != 0 && !ip.is_unspecified() && !ip.is_multicast() && !broadcast
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subnet_is_three_bytes_of_ipv4_and_eight_of_ipv6() {
        let v4 = |last, port| Subnet::of(Address::v4([10, 1, 2, last], port));
        assert_eq!(v4(1, 80), v4(200, 81));
        assert_ne!(v4(1, 80), Subnet::of(Address::v4([10, 1, 3, 1], 80)));
        let v6 = |at: usize| {
            let mut bytes = [0x20; 16];
            bytes[at] = 1;
            Subnet::of(Address::v6(bytes, 80))
        };
        assert_eq!(v6(8), v6(15));
        assert_ne!(v6(7), v6(8));
    }

    #[test]
    fn an_address_of_no_single_host_is_unreachable() {
        let refused = [([0, 0, 0, 0], 1), ([224, 0, 0, 1], 1), ([255, 255, 255, 255], 1)];
        assert!(refused.iter().all(|&(ip, port)| !is_reachable(Address::v4(ip, port))));
        assert!(!is_reachable(Address::v4([10, 0, 0, 1], 0)));
        assert!(is_reachable(Address::v4([10, 0, 0, 1], 1)));
    }
}
