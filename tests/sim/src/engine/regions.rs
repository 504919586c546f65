//! How far apart the regions of the world are.
//!
//! Source: IBM Cloud, "Network latency dashboards" for VPC, average round trips from 3 February to
//! 3 March 2024 between regions (table 1) and between the three zones of each region (tables 2 to
//! 11), as published in the repository ibm-cloud-docs/vpc, file
//! `_include-segments/network-latency.md`, commit 009bede4. Measured between data centres on one
//! provider's backbone: a node in a house is further away by its access line
//! ([`End::line_us`](super::End)).
//!
//! Invariants:
//! * the way between two regions is half the mean of the two round trips that the source has for
//!   them, so that it is the same in both directions;
//! * inside a region it is half the mean of its zones' round trips.
//!
//! What it does not do: tell zones of one region apart.

/// Names, as the source has them, in its order.
const NAMES: [&str; 10] = [
    "Dallas",
    "Toronto",
    "Washington DC",
    "Frankfurt",
    "London",
    "Madrid",
    "Osaka",
    "Sydney",
    "Tokyo",
    "Sao Paulo",
];

/// Average round trips in milliseconds, row to column; zero on the diagonal, see [`ZONES`].
const ROUND_TRIPS_MS: [[u16; 10]; 10] = [
    [0, 34, 32, 123, 113, 118, 149, 185, 142, 144],
    [34, 0, 19, 92, 82, 107, 170, 215, 162, 130],
    [32, 19, 0, 98, 75, 87, 174, 215, 167, 119],
    [123, 92, 98, 0, 12, 29, 242, 260, 237, 196],
    [113, 82, 75, 12, 0, 26, 253, 272, 247, 186],
    [118, 107, 87, 29, 26, 0, 268, 281, 260, 205],
    [149, 170, 174, 245, 255, 268, 0, 124, 9, 293],
    [185, 215, 214, 260, 271, 285, 124, 0, 117, 329],
    [141, 164, 167, 237, 246, 259, 9, 117, 0, 286],
    [145, 128, 120, 196, 185, 206, 292, 326, 285, 0],
];

/// Round trips between the three zones of each region, in hundredths of a millisecond.
const ZONES: [[u16; 3]; 10] = [
    [191, 202, 194],
    [172, 190, 186],
    [85, 89, 81],
    [89, 81, 80],
    [238, 187, 200],
    [68, 63, 80],
    [168, 167, 168],
    [191, 131, 202],
    [175, 154, 197],
    [197, 283, 213],
];

/// Regions and the ways between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Regions {
    names: Vec<&'static str>,
    /// One way, in microseconds, row by row.
    ways_us: Vec<u32>,
}

impl Regions {
    /// All ten of the table.
    pub fn world() -> Self {
        Self::of(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
    }

    /// Some of the table.
    ///
    /// # Errors
    /// The first name that is not in it.
    pub fn some(names: &[String]) -> Result<Self, String> {
        let at = |name: &String| {
            NAMES.iter().position(|known| known == name).ok_or_else(|| {
                format!("region: expected one of {}, got {name:?}", NAMES.join(", "))
            })
        };
        let chosen = names.iter().map(at).collect::<Result<Vec<_>, _>>()?;
        if chosen.is_empty() {
            return Err("regions: expected at least one, got none".to_owned());
        }
        Ok(Self::of(&chosen))
    }

    fn of(chosen: &[usize]) -> Self {
        let way = |from: usize, to: usize| {
            if from == to {
                // A third of a sum of hundredths of a millisecond, halved.
                ZONES[from].iter().map(|&trip| u32::from(trip) * 10).sum::<u32>() / 6
            } else {
                let both = ROUND_TRIPS_MS[from][to] + ROUND_TRIPS_MS[to][from];
                u32::from(both) * 1000 / 4
            }
        };
        let pairs = chosen.iter().flat_map(|&from| chosen.iter().map(move |&to| (from, to)));
        Self {
            names: chosen.iter().map(|&at| NAMES[at]).collect(),
            ways_us: pairs.map(|(from, to)| way(from, to)).collect(),
        }
    }

    /// How many there are.
    pub const fn count(&self) -> usize {
        self.names.len()
    }

    /// Their names.
    pub fn names(&self) -> &[&'static str] {
        &self.names
    }

    /// The index of a name.
    pub fn index(&self, name: &str) -> Option<u8> {
        let at = self.names.iter().position(|known| *known == name)?;
        u8::try_from(at).ok()
    }

    /// How long a message takes from one to another.
    ///
    /// # Panics
    /// For an index that is none.
    pub fn one_way_us(&self, from: u8, to: u8) -> u64 {
        self.ways_us[usize::from(from) * self.names.len() + usize::from(to)].into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_are_half_of_the_sources_round_trips() {
        let world = Regions::world();
        let way = |from, to| world.one_way_us(world.index(from).unwrap(), world.index(to).unwrap());
        assert_eq!(way("Frankfurt", "Tokyo"), 118_500);
        // 242 there and 245 back.
        assert_eq!(way("Frankfurt", "Osaka"), 121_750);
        assert_eq!(way("Osaka", "Frankfurt"), 121_750);
        // The zones' 0.89, 0.81 and 0.80 ms.
        assert_eq!(way("Frankfurt", "Frankfurt"), 416);
    }

    #[test]
    fn the_triangle_is_nearly_kept_as_real_routes_do() {
        let world = Regions::world();
        let count = u8::try_from(world.count()).unwrap();
        for (from, to, by) in (0..count)
            .flat_map(|a| (0..count).flat_map(move |b| (0..count).map(move |c| (a, b, c))))
        {
            let detour = world.one_way_us(from, by) + world.one_way_us(by, to);
            assert!(world.one_way_us(from, to) <= detour * 6 / 5, "{from} {to} {by}");
        }
    }

    #[test]
    fn an_unknown_region_is_refused_with_those_known() {
        let error = Regions::some(&["Atlantis".to_owned()]).unwrap_err();
        assert!(error.contains("Dallas") && error.contains("Atlantis"), "{error}");
        assert!(Regions::some(&[]).is_err());
        let one = Regions::some(&["Tokyo".to_owned()]).unwrap();
        assert_eq!((one.count(), one.one_way_us(0, 0)), (1, 876));
    }
}
