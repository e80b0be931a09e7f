//! Inputs that are almost right.

/// SplitMix64.
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Less than `end`, which is at least 1.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }
}

/// Numbers at which programs err.
const NUMBERS: [&str; 14] = [
    "0",
    "-1",
    "1",
    "255",
    "256",
    "65536",
    "2147483647",
    "-2147483648",
    "4294967296",
    "9223372036854775807",
    "18446744073709551616",
    "1e308",
    "nan",
    "0x7f",
];

/// An input with some changes. Others of the pool, and words of the target, are put in.
pub(crate) fn changed(rng: &mut Rng, mut input: Vec<u8>, pool: &[Vec<u8>], words: &[&str]) -> Vec<u8> {
    for _ in 0..=rng.below(6) {
        change(rng, &mut input, pool, words);
    }
    input
}

fn change(rng: &mut Rng, input: &mut Vec<u8>, pool: &[Vec<u8>], words: &[&str]) {
    let at = rng.below(input.len() + 1);
    let end = (at + 1 + rng.below(16)).min(input.len());
    match rng.below(11) {
        0 if at < input.len() => input[at] ^= 1 << rng.below(8),
        1 if at < input.len() => input[at] = rng.below(256) as u8,
        2 => input.insert(at, rng.below(256) as u8),
        3 if at < end => drop(input.drain(at..end)),
        4 if at < end => {
            let again = input[at..end].to_vec();
            input.splice(at..at, again);
        }
        5 => {
            let other = &pool[rng.below(pool.len())];
            let from = rng.below(other.len() + 1);
            let to = from + rng.below(other.len() - from + 1);
            input.splice(at..at, other[from..to].iter().copied());
        }
        6 => {
            let other = &pool[rng.below(pool.len())];
            input.truncate(at);
            input.extend(&other[rng.below(other.len() + 1)..]);
        }
        7 => put(input, at, NUMBERS[rng.below(NUMBERS.len())].as_bytes()),
        8 | 9 if !words.is_empty() => put(input, at, words[rng.below(words.len())].as_bytes()),
        10 => input.truncate(at),
        _ => put(input, at, &[[b'"', b'\'', b'\n', b'=', b'$', b'(', b')', b'[', b'{', b':', 0, 0xff][rng.below(12)]]),
    }
}

fn put(input: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    input.splice(at..at, bytes.iter().copied());
}
