//! How long nodes stay.
//!
//! Sessions follow a distribution with a stated mean, the reciprocal of the churn rate. Measured
//! networks have many short sessions and a few very long ones (Stutzbach and Rejaie, "Understanding
//! churn in peer-to-peer networks", IMC 2006, fit Weibull with a shape of about 0.4 to 0.6).
//!
//! Invariants:
//! * the first session of a run is one in the middle: how long a node has stayed already when the
//!   run begins follows from the same distribution, so that churn does not begin with a wave.
//!
//! What it does not do: say who leaves how; that stands in the scenario.

use serde::{Deserialize, Serialize};

use crate::random::{Random, power};

/// How sessions are distributed around their mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sessions {
    /// Without memory: who has stayed long is as likely to leave as anybody.
    #[default]
    Exponential,
    /// Weibull of shape 0.5: who has stayed long stays longer.
    Weibull,
    /// Pareto of index 1.5, from a third of the mean: a heavy tail.
    Pareto,
    /// All the same.
    Fixed,
}

impl Sessions {
    /// The length of a session, from its beginning.
    pub fn length(self, mean: f64, random: &mut Random) -> f64 {
        match self {
            Self::Exponential => random.exponential(mean),
            // Of shape 1/2 and scale s, the mean is s times the factorial of 2.
            Self::Weibull => {
                let draw = random.exponential(1.0);
                mean / 2.0 * draw * draw
            }
            // Of index a and least x, the mean is a x / (a - 1).
            Self::Pareto => mean / 3.0 / power(random.unit(), 1.0 / 1.5),
            Self::Fixed => mean,
        }
    }

    /// What is left of a session that is met at a random moment.
    pub fn rest(self, mean: f64, random: &mut Random) -> f64 {
        // Sessions one after the other from long ago, until one covers the present.
        let mut until = -30.0 * mean * random.unit() - 30.0 * mean;
        while until <= 0.0 {
            until += self.length(mean, random);
        }
        until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Sessions; 4] =
        [Sessions::Exponential, Sessions::Weibull, Sessions::Pareto, Sessions::Fixed];

    #[test]
    fn sessions_have_the_mean_that_the_rate_asks_for() {
        for sessions in ALL {
            let mut random = Random::stream(1, "sessions", sessions as u64);
            let sum: f64 = (0..200_000).map(|_| sessions.length(10.0, &mut random)).sum();
            // The tail of Pareto's distribution keeps its mean uncertain.
            assert!((sum / 2e5 - 10.0).abs() < 0.7, "{sessions:?}: {}", sum / 2e5);
        }
    }

    #[test]
    fn a_run_begins_in_the_middle_of_sessions() {
        // Rests have the mean of the squared length over twice the mean: here 10, 30 and 5.
        for (sessions, expected) in
            [(Sessions::Exponential, 10.0), (Sessions::Weibull, 30.0), (Sessions::Fixed, 5.0)]
        {
            let mut random = Random::stream(2, "rests", sessions as u64);
            let sum: f64 = (0..20_000).map(|_| sessions.rest(10.0, &mut random)).sum();
            let mean = sum / 2e4;
            assert!((mean / expected - 1.0).abs() < 0.06, "{sessions:?}: {mean}");
        }
    }
}
