//! Who sends a request, as far as the connection says.
//!
//! Invariants:
//! * REST-5: over HTTPS, whoever has shown no certificate may ask [`OPEN`] and nothing else; whoever has
//!   shown one has shown a valid one of the cluster's authority, or there is no connection.
//!
//! What it does not do: tell rights apart. Whoever is admitted may do everything.

use std::net::IpAddr;

use cloakroom_server::{Holder, Proof};

/// What a probe asks that has no certificate: whether the node lives, and can serve. They tell nothing of what
/// it holds, and what they cost is bounded by the limits on connections and requests.
const OPEN: [&str; 3] = ["/livez", "/readyz", "/version"];

/// Who sends the requests of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    pub(crate) address: IpAddr,
    pub(crate) shown: Shown,
}

/// What a caller has shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    /// Plain HTTP: it is on this machine.
    Loopback,
    /// HTTPS, and no certificate.
    Nothing,
    /// HTTPS, and this certificate.
    Certificate(Holder),
}

impl Caller {
    pub(crate) fn on_loopback(address: IpAddr) -> Self {
        Self { address, shown: Shown::Loopback }
    }

    pub(crate) fn over_https(address: IpAddr, proof: Option<&Proof>) -> Self {
        let shown = proof.map_or(Shown::Nothing, |it| Shown::Certificate(it.holder.clone()));
        Self { address, shown }
    }

    /// Whether it came over HTTPS: then the name in its request is one that our certificate has.
    pub(crate) fn is_over_https(&self) -> bool {
        self.shown != Shown::Loopback
    }

    /// Whether it may ask for this.
    pub(crate) fn may(&self, path: &str, query: Option<&str>) -> bool {
        // REST-5
        match &self.shown {
            Shown::Loopback => true,
            Shown::Certificate(Holder::Node(_) | Holder::Client(_)) => true,
            Shown::Certificate(_) | Shown::Nothing => query.is_none() && OPEN.contains(&path),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn without_a_certificate_probes_are_answered_and_nothing_else() {
        let address = Ipv4Addr::new(10, 0, 0, 1).into();
        let caller = Caller::over_https(address, None);
        for path in OPEN {
            assert!(caller.may(path, None));
        }
        assert!(!caller.may("/readyz", Some("verbose")), "the details are not for everybody");
        for path in ["/", "/metrics", "/openapi.json", "/v1/pools", "/livez/", "/v1/cluster"] {
            assert!(!caller.may(path, None), "{path}");
        }
        assert!(Caller::on_loopback(address).may("/v1/pools", None));
    }
}
