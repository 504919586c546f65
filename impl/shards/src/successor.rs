//! What replaces a table: made and filled by one thread, alone, and then shown by one exchange.
//!
//! * whoever finds a table full freezes all its slots, and copies what they held to a successor of
//!   his own, by plain stores. Frozen values are final, so all successors of a table have the same
//!   entries; one becomes current, the others are given back by their makers, who were never in
//!   anybody's way. So a copier that comes late writes where nobody reads (SHARD-5);
//! * a successor has no fewer slots and no fewer key words than what it replaces.
//!
//! What it does not do: share the work. Two threads that find one table full copy it twice, into
//! twice the memory for as long; tables are small where shards are many.

use crate::blob::Blob;
use crate::bounds::most_used;
use crate::error::MAX_KEY_BYTES;
use crate::hash::Hasher;
use crate::key::{self, Form, Long, MOST_WORDS};
use crate::slot::Place;
use crate::table::Table;

impl Table {
    /// What the successor should be: slots and key words. Twice as many slots, unless half are
    /// without a value.
    ///
    /// # Safety
    /// The caller's guard led to this table.
    pub(crate) unsafe fn size_of_next(&self, hasher: &Hasher) -> (usize, usize) {
        let mut heap = [0; MOST_WORDS + 1];
        let mut present = 0;
        for place in self.places() {
            let (value, first) = (place.value(), place.first());
            // A key without a value counts for the words, not for the slots: it has just come, in a
            // table that is full before its first value, or it has just gone.
            if !first.is_present() {
                continue;
            }
            present += usize::from(value.is_present());
            // Those that are in their slots stay there: the successor has no fewer key words.
            if let Some(blob) = first.blob() {
                // SAFETY: acquired just now, under the caller's guard.
                let (words, length) = unsafe {
                    Blob::read(blob, |bytes| (Long::new(bytes, hasher).fewest_words(), bytes.len()))
                };
                heap[words] += Blob::footprint(length);
            }
        }
        let slots = if present * 2 > most_used(self.len()) { self.len() * 2 } else { self.len() };
        // A slot that is empty now will be used as those are that are not.
        let scale = |bytes: usize| bytes * most_used(slots) / most_used(self.len());
        (slots, key::best_words(&heap.map(scale), slots, self.key_words()))
    }

    /// Freezes every slot and copies what it held to `next`. Answers whether `next` has keys in its slots
    /// that this table has on the heap.
    ///
    /// # Safety
    /// The caller's guard led to this table, and nobody else has seen `next`, which is empty, and has
    /// as many slots and key words as [`Table::size_of_next`] says or more.
    pub(crate) unsafe fn copy_all(&self, next: &Self, hasher: &Hasher, shard: usize) -> bool {
        let mut inlined = false;
        for place in self.places() {
            let value = place.freeze();
            if !value.is_present() {
                continue;
            }
            let first = place.first();
            assert!(first.is_present(), "SHARD-5: a value has its key");
            match first.blob() {
                None => {
                    let slot = next.free_slot(key::local_by(first.bits()));
                    let words = self.key_words();
                    if key::is_full(first.bits()) && next.key_words() > words {
                        let mut bytes = [0; MAX_KEY_BYTES];
                        let further = |word| place.further(word);
                        key::inline(hasher, shard, first, words, further, &mut bytes);
                        let key = Long::new(&bytes[..8 * words], hasher);
                        key.fill(slot, Form::Wide, value);
                        continue;
                    }
                    slot.fill(first.bits(), value);
                    for word in 1..key::words_by(first.bits(), words) {
                        slot.fill_further(word, place.further(word));
                    }
                }
                // SAFETY: acquired just now, under the caller's guard.
                Some(blob) => unsafe {
                    Blob::read(blob, |bytes| {
                        let key = Long::new(bytes, hasher);
                        let slot = next.free_slot(key.local);
                        match key.form(next.key_words()) {
                            Form::Heap => slot.fill(first.bits(), value),
                            form => {
                                inlined = true;
                                key.fill(slot, form, value);
                            }
                        }
                    });
                },
            }
        }
        inlined
    }

    /// The first empty slot on a way.
    fn free_slot(&self, local: u64) -> Place<'_> {
        self.take_slot(local)
            .expect("SHARD-5: a successor has a slot for every key that has a value")
    }

    /// Marks the keys that the successor has in its slots, by how many key words it has, for whoever frees this table: then it is
    /// too late to look at a key that the successor has by its address. Called by the one who
    /// replaced it, before it is retired.
    ///
    /// # Safety
    /// The caller's guard led to this table, and the caller has frozen and copied all its slots.
    pub(crate) unsafe fn replaced_by(&self, key_words: usize, hasher: &Hasher) {
        let stays = |bytes: &[u8]| Long::new(bytes, hasher).form(key_words) == Form::Heap;
        for place in self.places() {
            let (key, value) = place.quiet();
            if value.is_present()
                && let Some(blob) = key.blob()
                // SAFETY: acquired under the caller's guard, when it was copied.
                && !unsafe { Blob::read(blob, stays) }
            {
                place.mark_key(key);
            }
        }
    }
}
