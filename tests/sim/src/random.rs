//! Chance, all of it from one seed.
//!
//! Invariants:
//! * SIM-1: the same seed, stream and calls give the same numbers, on every machine: integers, and of
//!   floating point only `+ - * /` and the square root, which IEEE 754 defines to the last bit. The
//!   logarithm and the exponential function of the platform are not, so they stand here;
//! * streams of different names or indices are unrelated: one more draw here moves nothing there.
//!
//! What it does not do: secrets.

/// SplitMix64 (Steele, Lea, Flood 2014): eight bytes of state, passes BigCrush.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Random(u64);

/// A probability, to compare a draw with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Chance(u64);

impl Chance {
    /// Of a share between 0 and 1; what lies outside is cut off.
    pub fn of(share: f64) -> Self {
        // 2^64 as a float; `as` saturates, so that one means always (but for one draw in 2^64).
        let scaled = share.clamp(0.0, 1.0) * 18_446_744_073_709_551_616.0;
        Self(to_u64(scaled))
    }

    /// Never.
    pub const fn of_never() -> Self {
        Self(0)
    }

    /// Whether this never happens.
    pub const fn is_never(self) -> bool {
        self.0 == 0
    }
}

/// The whole part; zero for what is negative or no number, the greatest for what is too large.
pub fn to_u64(value: f64) -> u64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "`as` cuts off, saturates, and takes no number for zero: just what is meant"
    )]
    let whole = value as u64;
    whole
}

/// A count as a float; exact below 2^53, and nothing here counts so far.
pub const fn to_f64(value: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "said above")]
    let float = value as f64;
    float
}

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

const fn mix(state: u64) -> u64 {
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

impl Random {
    /// The numbers of this seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A stream of its own for one purpose and one node.
    pub fn stream(seed: u64, purpose: &str, index: u64) -> Self {
        let named = purpose
            .bytes()
            .fold(mix(seed ^ GOLDEN), |state, byte| mix(state.wrapping_add(byte.into())));
        Self(mix(named ^ mix(index.wrapping_add(GOLDEN))))
    }

    /// The next number.
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GOLDEN);
        mix(self.0)
    }

    /// A number below `bound`; zero for a bound of zero. Biased by less than `bound` / 2^64.
    pub const fn below(&mut self, bound: u64) -> u64 {
        ((self.next() as u128 * bound as u128) >> 64) as u64
    }

    /// An index into something of this length; zero if it is empty.
    pub fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).unwrap_or(0)
    }

    /// Whether something of this probability happens. Draws in any case.
    pub const fn happens(&mut self, chance: Chance) -> bool {
        self.next() < chance.0
    }

    /// 32 bytes.
    pub fn bytes(&mut self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for chunk in bytes.chunks_exact_mut(8) {
            chunk.copy_from_slice(&self.next().to_be_bytes());
        }
        bytes
    }

    /// Above 0 and at most 1, in steps of 2^-53.
    pub const fn unit(&mut self) -> f64 {
        to_f64((self.next() >> 11) + 1) / to_f64(1 << 53)
    }

    /// A time without memory, of this mean.
    pub fn exponential(&mut self, mean: f64) -> f64 {
        -ln(self.unit()) * mean
    }

    /// Standard normal (Marsaglia's polar method).
    pub fn normal(&mut self) -> f64 {
        loop {
            let (x, y) = (2.0 * self.unit() - 1.0, 2.0 * self.unit() - 1.0);
            let square = x * x + y * y;
            if square > 0.0 && square < 1.0 {
                return x * (-2.0 * ln(square) / square).sqrt();
            }
        }
    }

    /// Mixes the order of things (Fisher and Yates).
    pub fn shuffle<T>(&mut self, things: &mut [T]) {
        for at in (1..things.len()).rev() {
            things.swap(at, self.index(at + 1));
        }
    }
}

/// The natural logarithm of a normal positive number, to about 1e-15.
pub fn ln(x: f64) -> f64 {
    let bits = x.to_bits();
    let exponent = to_f64(bits >> 52 & 0x7ff) - 1023.0;
    let mantissa = f64::from_bits(bits & ((1 << 52) - 1) | 1023 << 52);
    // ln m = 2 artanh((m - 1) / (m + 1)), and the argument is at most a third.
    let z = (mantissa - 1.0) / (mantissa + 1.0);
    let square = z * z;
    let mut sum = 0.0;
    for odd in (0..18_u32).rev() {
        sum = sum * square + 1.0 / f64::from(2 * odd + 1);
    }
    2.0 * z * sum + exponent * core::f64::consts::LN_2
}

/// The exponential function, to about 1e-15 of the result; for results that are normal numbers.
pub fn exp(x: f64) -> f64 {
    let halvings = (x / core::f64::consts::LN_2).round();
    let rest = x - halvings * core::f64::consts::LN_2;
    let mut sum = 1.0;
    for term in (1..20_u32).rev() {
        sum = 1.0 + sum * rest / f64::from(term);
    }
    let steps = to_u64(halvings.abs());
    let factor = if halvings < 0.0 { 0.5 } else { 2.0 };
    (0..steps.min(1100)).fold(sum, |value, _| value * factor)
}

/// `base` to the power `power`, for a positive base.
pub fn power(base: f64, power: f64) -> f64 {
    exp(ln(base) * power)
}

/// Not SHA-256, but as even for this.
pub(crate) fn hash(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    let mut state = 0xcbf2_9ce4_8422_2325_u64;
    for (at, part) in hash.chunks_mut(8).enumerate() {
        for byte in bytes.iter().copied().chain((at as u64).to_be_bytes()) {
            state = (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        part.copy_from_slice(&Random::new(state).next().to_be_bytes());
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_logarithm_and_exponential_agree_with_the_platforms() {
        let mut random = Random::new(1);
        for _ in 0..10_000 {
            let x = random.unit() * 10_f64.powi(i32::try_from(random.below(40)).unwrap() - 20);
            assert!((ln(x) - x.ln()).abs() <= 1e-13 * x.ln().abs().max(1.0), "ln {x}");
            let y = ln(x);
            assert!((exp(y) / y.exp() - 1.0).abs() < 1e-12, "exp {y}");
        }
        assert!((power(2.0, 0.5) - 2_f64.sqrt()).abs() < 1e-15);
    }

    #[test]
    fn the_numbers_are_pinned_so_that_every_machine_has_the_same() {
        let mut random = Random::stream(7, "loss", 3);
        let drawn: Vec<u64> = (0..3).map(|_| random.next()).collect();
        let bits = [random.exponential(10.0), random.normal()].map(f64::to_bits);
        assert_eq!(
            (drawn, bits),
            (
                vec![
                    9_520_453_203_030_642_185,
                    13_586_869_088_571_606_834,
                    11_759_568_506_166_942_067
                ],
                [4_620_384_680_685_849_763, 4_610_478_779_546_070_182]
            )
        );
    }

    #[test]
    fn draws_have_the_means_that_they_claim() {
        let mut random = Random::new(2);
        let mean = |draw: &mut dyn FnMut() -> f64| (0..100_000).map(|_| draw()).sum::<f64>() / 1e5;
        assert!((mean(&mut || random.exponential(5.0)) - 5.0).abs() < 0.1);
        assert!(mean(&mut || random.normal()).abs() < 0.02);
        let fifth = Chance::of(0.2);
        assert!((mean(&mut || f64::from(u8::from(random.happens(fifth)))) - 0.2).abs() < 0.01);
        assert!(Chance::of(0.0).is_never() && !random.happens(Chance::of(-1.0)));
        assert!(random.happens(Chance::of(1.0)));
    }

    #[test]
    fn streams_differ_by_seed_purpose_and_index() {
        let first = |seed, purpose, index| Random::stream(seed, purpose, index).next();
        let mut all = [first(1, "a", 0), first(2, "a", 0), first(1, "b", 0), first(1, "a", 1)];
        all.sort_unstable();
        assert!(all.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
