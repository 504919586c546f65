//! Where a node is reached, and by what key it is known.
//!
//! Invariants:
//! * one address has one form: IPv4 inside IPv6 (`::ffff:a.b.c.d`) is IPv4, so that no node gets
//!   round a limit on subnets by writing its address in another way.
//!
//! What it does not do: judge whether an address can be reached, or whether the id is the hash of
//! the key.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::id::{NodeId, NodeKey};

/// An IP address and a port.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    ip: IpAddr,
    port: u16,
}

/// A node as others know it. `Copy`, 84 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Contact {
    /// Who it is: the hash of `key`, if the one who told us did not lie.
    pub id: NodeId,
    /// Where it is reached.
    pub address: Address,
    /// Its public key.
    pub key: NodeKey,
}

impl Address {
    /// Of any IP address; IPv4 inside IPv6 becomes IPv4.
    pub const fn new(ip: IpAddr, port: u16) -> Self {
        Self { ip: ip.to_canonical(), port }
    }

    /// Of four bytes.
    pub const fn v4(ip: [u8; 4], port: u16) -> Self {
        Self { ip: IpAddr::V4(Ipv4Addr::from_octets(ip)), port }
    }

    /// Of sixteen bytes; IPv4 inside IPv6 becomes IPv4.
    pub const fn v6(ip: [u8; 16], port: u16) -> Self {
        Self::new(IpAddr::V6(Ipv6Addr::from_octets(ip)), port)
    }

    /// The IP address, never IPv4 inside IPv6.
    pub const fn ip(self) -> IpAddr {
        self.ip
    }

    /// The port.
    pub const fn port(self) -> u16 {
        self.port
    }
}

/// Leaves out the flow and scope that a socket's IPv6 address may have: they mean nothing elsewhere.
impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::new(address.ip(), address.port())
    }
}

impl From<Address> for SocketAddr {
    fn from(address: Address) -> Self {
        Self::new(address.ip, address.port)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        SocketAddr::from(*self).fmt(f)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        SocketAddr::from(*self).fmt(f)
    }
}

impl fmt::Display for Contact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.id, self.address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn one_address_has_one_form() {
        let mapped = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 1];
        assert_eq!(Address::v6(mapped, 7), Address::v4([10, 0, 0, 1], 7));
        let scoped: SocketAddr = "[fe80::1%3]:7".parse().unwrap();
        assert_eq!(Address::from(scoped).to_string(), "[fe80::1]:7");
    }

    #[test]
    fn a_contact_is_as_small_as_documented() {
        assert_eq!(size_of::<Contact>(), 84);
    }
}
