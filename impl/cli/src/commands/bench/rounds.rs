//! Rounds of questions to replicas, as servers count them: all that there were, and those that calls of pools waited for,
//! one after the other.
//!
//! Invariants: what a server has not said is not known of all of them.
//!
//! What it does not do: tell whose they were; others may call the same servers.

use std::collections::BTreeMap;

use super::report::ratio;

const ALL: &str = "cloakroom_register_round_trips_total ";
const WAITED_FOR: &str = "cloakroom_pool_call_round_trips_bucket{";

/// Of some servers, since their starts; or between two looks at them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Rounds {
    all: u64,
    /// By kind of call and greatest number of rounds: how many calls waited for no more.
    waited_for: BTreeMap<(String, u64), u64>,
}

impl Rounds {
    /// Adds what a server says; `None`: it does not.
    pub(super) fn add(&mut self, metrics: &str) -> Option<()> {
        let all = metrics.lines().find_map(|line| line.strip_prefix(ALL))?;
        self.all += all.trim().parse::<u64>().ok()?;
        for line in metrics.lines().filter_map(|line| line.strip_prefix(WAITED_FOR)) {
            let (labels, count) = line.split_once("} ")?;
            let (call, most) = (label(labels, "call")?, label(labels, "le")?);
            // The last one has no bound.
            let Some((most, _)) = most.split_once('.') else { continue };
            let place = (call.to_owned(), most.parse().ok()?);
            *self.waited_for.entry(place).or_default() += count.trim().parse::<u64>().ok()?;
        }
        Some(())
    }

    pub(super) fn since(&self, before: &Self) -> Self {
        let less = |(place, count): (&(String, u64), &u64)| {
            let before = before.waited_for.get(place).copied().unwrap_or(0);
            (place.clone(), count.saturating_sub(before))
        };
        let waited_for = self.waited_for.iter().map(less).collect();
        Self { all: self.all.saturating_sub(before.all), waited_for }
    }

    /// All of them, also those beside what a call waits for and those shared by many, for each of so many calls.
    pub(super) fn per_call(&self, calls: u64) -> Option<f64> {
        (calls > 0).then(|| ratio(self.all, calls))
    }

    /// How many half of the calls of a kind waited for at most, if any was counted.
    pub(super) fn median(&self, call: &str) -> Option<u64> {
        let of_call = || self.waited_for.iter().filter(|((of, _), _)| of == call);
        let counted = of_call().map(|(_, count)| *count).max().filter(|count| *count > 0)?;
        of_call().find(|(_, count)| **count * 2 >= counted).map(|((_, most), _)| *most)
    }
}

fn label<'a>(labels: &'a str, name: &str) -> Option<&'a str> {
    labels
        .split(',')
        .find_map(|label| label.strip_prefix(name)?.strip_prefix("=\"")?.strip_suffix('"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(all: u64, counts: [u64; 3]) -> String {
        let [none, one, more] = counts;
        format!(
            "# HELP x y\ncloakroom_register_round_trips_total {all}\n\
             cloakroom_pool_call_round_trips_bucket{{le=\"0.0\",call=\"free\"}} {none}\n\
             cloakroom_pool_call_round_trips_bucket{{le=\"1.0\",call=\"free\"}} {one}\n\
             cloakroom_pool_call_round_trips_bucket{{call=\"free\",le=\"+Inf\"}} {more}\n"
        )
    }

    #[test]
    fn what_servers_say_is_added_up_and_what_they_said_before_is_taken_away() {
        let (mut before, mut after) = (Rounds::default(), Rounds::default());
        assert_eq!(before.add(&said(10, [5, 5, 5])), Some(()));
        assert_eq!(after.add(&said(20, [5, 7, 7])), Some(()));
        assert_eq!(after.add(&said(5, [1, 2, 2])), Some(()));
        let made = after.since(&before);
        assert_eq!((made.per_call(5), made.per_call(0)), (Some(3.0), None));
        assert_eq!((made.median("free"), made.median("allocate")), (Some(1), None));
        assert_eq!(before.since(&before).median("free"), None);
        assert_eq!(before.add("nothing of the kind"), None);
    }
}
