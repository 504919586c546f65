//! The numbers of the protocol, as arguments: production has the defaults, a model has small ones.
//!
//! Invariants: [`Parameters::checked`] refuses what the machine could not run with.
//!
//! What it does not do: change while a machine runs.

use thiserror::Error;

/// All numbers of a machine. Times are in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Parameters {
    /// Contacts in a bucket, and nodes that a lookup must have heard from.
    pub k: u8,
    /// Requests of one lookup in flight, all paths together, slow ones not counted.
    pub alpha: u8,
    /// Disjoint paths of a lookup: no node is asked on two of them.
    pub paths: u8,
    /// Requests that a lookup may send at all: bounds time and memory under lying peers.
    pub most_asked: u16,
    /// Contacts that a lookup keeps in mind without having asked them.
    pub most_waiting: u16,
    /// Holders of a record.
    pub replication: u8,
    /// Contacts that wait for room in a bucket.
    pub replacements: u8,
    /// How often a bucket may be split: the most buckets.
    pub most_buckets: u16,
    /// Limits on contacts of one subnet; `None` where all nodes are in one, as on a test machine.
    pub subnets: Option<SubnetLimits>,
    /// Calls, publications and refreshes under way at once.
    pub most_queries: u16,
    /// Pings of unknown senders under way at once: what strangers can make us send.
    pub most_greetings: u16,
    /// A contact heard from more recently is not pinged before a newcomer is kept waiting.
    pub fresh_ms: u64,
    /// Least time until a lookup asks somebody else beside; the answer may still come.
    pub slow_ms: u64,
    /// Least and most time until a request counts as unanswered.
    pub timeout_ms: (u64, u64),
    /// Time between the first and the second ping of a silent contact; doubles each time.
    pub probe_ms: u64,
    /// Evidence at which a silent contact is dead, in bits: a living one is taken for dead with a
    /// probability of 2^-bits, if losses are independent.
    pub dead_bits: u8,
    /// Records on their way to other holders at once.
    pub most_handovers: u16,
    /// How often a record is sent to a holder that does not answer, until the next look.
    pub handover_tries: u8,
    /// A bucket is refreshed when no lookup went there for so long.
    pub refresh_ms: u64,
    /// How often buckets and records are looked over.
    pub tick_ms: u64,
    /// How often a holder sees to a record's other holders.
    pub republish_ms: u64,
    /// Limits on records.
    pub records: RecordLimits,
}

/// How many contacts of one subnet (IPv4 /24, IPv6 /64) are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SubnetLimits {
    /// In a bucket.
    pub bucket: u8,
    /// In the table.
    pub table: u8,
}

/// What a node is ready to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RecordLimits {
    /// Bytes of a record's value and of fields that this version does not know.
    pub record_bytes: u32,
    /// Records in all.
    pub count: u32,
    /// Bytes in all.
    pub bytes: u64,
    /// Records by one peer.
    pub peer_count: u32,
    /// Bytes by one peer.
    pub peer_bytes: u64,
    /// Origins under one key.
    pub origins: u8,
    /// The longest life that a record may ask for.
    pub life_ms: u64,
    /// The longest life of a copy beside the lookup path, a whole number of times shorter.
    pub cache_ms: u64,
}

impl Default for SubnetLimits {
    fn default() -> Self {
        Self { bucket: 2, table: 10 }
    }
}

impl Default for RecordLimits {
    fn default() -> Self {
        Self {
            record_bytes: 64 << 10,
            count: 100_000,
            bytes: 256 << 20,
            peer_count: 10_000,
            peer_bytes: 64 << 20,
            origins: 8,
            life_ms: 24 * 60 * 60_000,
            cache_ms: 5 * 60_000,
        }
    }
}

impl Default for Parameters {
    fn default() -> Self {
        Self {
            k: 20,
            alpha: 3,
            paths: 3,
            most_asked: 240,
            most_waiting: 120,
            replication: 3,
            replacements: 4,
            most_buckets: 256,
            subnets: Some(SubnetLimits::default()),
            most_queries: 1024,
            most_greetings: 8,
            fresh_ms: 60_000,
            slow_ms: 50,
            timeout_ms: (500, 2_000),
            most_handovers: 32,
            handover_tries: 8,
            probe_ms: 1_000,
            dead_bits: 20,
            refresh_ms: 60 * 60_000,
            tick_ms: 60_000,
            republish_ms: 60 * 60_000,
            records: RecordLimits::default(),
        }
    }
}

/// Numbers that the machine cannot run with: the configuration's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ParameterError {
    /// A number is outside its range.
    #[error("expected {name} in {least}..={most}, got {got}")]
    Range {
        /// Which.
        name: &'static str,
        /// The least.
        least: u64,
        /// The greatest.
        most: u64,
        /// What it was.
        got: u64,
    },
}

/// The most disjoint paths: a candidate has one bit for each.
pub(crate) const MOST_PATHS: u8 = 8;

impl Parameters {
    /// These numbers, if the machine can run with them.
    ///
    /// # Errors
    /// The first that is out of range.
    pub fn checked(self) -> Result<Self, ParameterError> {
        let ranges = [
            ("k", u64::from(self.k), 1, 64),
            ("alpha", self.alpha.into(), 1, 64),
            ("paths", self.paths.into(), 1, MOST_PATHS.into()),
            ("most_asked", self.most_asked.into(), self.k.into(), 4096),
            ("most_waiting", self.most_waiting.into(), self.k.into(), 4096),
            ("replication", self.replication.into(), 1, self.k.into()),
            ("most_buckets", self.most_buckets.into(), 1, 256),
            ("most_queries", self.most_queries.into(), 1, u64::from(u16::MAX)),
            ("timeout_ms.0", self.timeout_ms.0, 1, self.timeout_ms.1),
            ("slow_ms", self.slow_ms, 1, self.timeout_ms.1),
            ("most_handovers", self.most_handovers.into(), 1, u64::from(u16::MAX)),
            ("handover_tries", self.handover_tries.into(), 1, u64::from(u8::MAX)),
            ("probe_ms", self.probe_ms, 1, 1 << 32),
            ("dead_bits", self.dead_bits.into(), 1, 64),
            ("refresh_ms", self.refresh_ms, 1, 1 << 40),
            ("tick_ms", self.tick_ms, 1, 1 << 40),
            ("republish_ms", self.republish_ms, 1, 1 << 40),
            ("records.origins", self.records.origins.into(), 1, u64::from(u8::MAX)),
            ("records.life_ms", self.records.life_ms, 1, 1 << 40),
            ("records.cache_ms", self.records.cache_ms, 0, self.records.life_ms),
        ];
        for (name, got, least, most) in ranges {
            if !(least..=most).contains(&got) {
                return Err(ParameterError::Range { name, least, most, got });
            }
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_can_be_run_and_what_cannot_is_refused_by_name() {
        assert!(Parameters::default().checked().is_ok());
        let refused = Parameters { paths: 9, ..Parameters::default() }.checked();
        let expected = ParameterError::Range { name: "paths", least: 1, most: 8, got: 9 };
        assert_eq!(refused, Err(expected));
        assert!(Parameters { k: 2, ..Parameters::default() }.checked().is_err(), "replication > k");
    }
}
