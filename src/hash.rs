//! A hash that is the same in every version of the program, on every machine: for what is stored,
//! or compared with what another run stored.

use std::hash::{Hash, Hasher};

/// FNV-1a, 64 bits (offset basis and prime as its authors give them).
const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0000_0100_0000_01b3;

/// The stable hash of a value.
pub fn stable_hash(value: &(impl Hash + ?Sized)) -> u64 {
    let mut hasher = StableHasher(BASIS);
    value.hash(&mut hasher);
    hasher.finish()
}

/// Numbers count as their little-endian bytes, those of a machine's word size as 64 bits.
#[derive(Debug)]
struct StableHasher(u64);

impl Hasher for StableHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(PRIME);
        }
    }

    fn write_u16(&mut self, number: u16) {
        self.write(&number.to_le_bytes());
    }

    fn write_u32(&mut self, number: u32) {
        self.write(&number.to_le_bytes());
    }

    fn write_u64(&mut self, number: u64) {
        self.write(&number.to_le_bytes());
    }

    fn write_u128(&mut self, number: u128) {
        self.write(&number.to_le_bytes());
    }

    fn write_usize(&mut self, number: usize) {
        self.write_u64(number as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_has_the_hash_that_it_always_had() {
        // A text is hashed with the byte 0xff behind it.
        assert_eq!(stable_hash("a"), 0x089b_c907_b544_c769);
        assert_eq!(stable_hash(&("kind", 7_u32)), 0xc06e_7674_c3b8_ba23);
        assert_ne!(stable_hash(&("kind", 7_u32)), stable_hash(&("kind", 8_u32)));
    }
}
