//! Whose turn it is first, when there is no time for all.
//!
//! The mutants stand in one order, those of one check together, so that a build serves many. A
//! run that is limited in time starts somewhere in that order and goes round: with a fixed start
//! the last ones would never run. The start is drawn from a seed, the seed from the commit, so a
//! run can be repeated and the next push starts elsewhere. Every mutant is as likely to be first
//! as any other.

use std::path::Path;

use crate::scratch::git;

/// The seed of the commit that is checked out: its first 8 digits; zero when there is none.
pub(crate) fn seed_of_commit(root: &Path) -> u64 {
    git(root, &["rev-parse", "HEAD"]).map_or(0, |commit| seed(&commit))
}

fn seed(commit: &str) -> u64 {
    commit.get(..8).and_then(|digits| u64::from_str_radix(digits, 16).ok()).unwrap_or(0)
}

/// Where to start among so many.
pub(crate) fn start(seed: u64, among: usize) -> usize {
    let start = seed.checked_rem(among as u64).unwrap_or(0);
    usize::try_from(start).expect("less than a usize")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_commit_gives_its_first_digits_as_seed() {
        assert_eq!(seed("0000002a8b07058f2c\n"), 42);
        assert_eq!((seed(""), seed("HEAD is no commit")), (0, 0));
    }

    #[test]
    fn every_mutant_has_a_seed_with_which_it_comes_first() {
        let starts: BTreeSet<_> = (0..47).map(|seed| start(seed, 47)).collect();
        assert_eq!(starts, (0..47).collect());
        assert_eq!(start(u64::MAX, 1), 0);
        assert_eq!(start(7, 0), 0);
    }
}
