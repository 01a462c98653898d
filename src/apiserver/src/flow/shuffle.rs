//! Shuffle sharding: a flow may wait in a few queues of many, which its hash deals to it like cards. Two flows seldom
//! have the same hand, so that one that fills its queues leaves every other some that are short.

/// A hand of different queues out of `queues`, the same for the same hash. A hand that is larger than there are queues
/// is all of them.
pub fn deal(mut hash: u64, queues: usize, hand: usize) -> Vec<usize> {
    let mut dealt: Vec<usize> = Vec::with_capacity(hand.min(queues));
    // Kept in order, to count the cards that are gone.
    let mut gone: Vec<usize> = Vec::with_capacity(hand.min(queues));
    for left in ((queues - hand.min(queues) + 1)..=queues).rev() {
        let mut card = usize::try_from(hash % left as u64).unwrap_or(0);
        hash /= left as u64;
        let mut at = 0;
        while at < gone.len() && gone[at] <= card {
            card += 1;
            at += 1;
        }
        gone.insert(at, card);
        dealt.push(card);
    }
    dealt
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_hash_deals_its_digits() {
        assert_eq!(deal(0, 8, 3), [0, 1, 2]);
        assert_eq!(deal(7, 8, 3), [7, 0, 1]);
        // 5 + 8 * 4: the fifth of what is left without the first.
        assert_eq!(deal(5 + 8 * 5, 8, 2), [5, 6]);
        assert_eq!(deal(3, 1, 4), [0]);
        assert_eq!(deal(3, 0, 4), Vec::<usize>::new());
    }

    proptest! {
        #[test]
        fn hands_are_of_different_queues_and_always_the_same(hash: u64, queues in 1usize..200, hand in 1usize..12) {
            let dealt = deal(hash, queues, hand);
            let different: HashSet<usize> = dealt.iter().copied().collect();
            prop_assert_eq!(different.len(), hand.min(queues));
            prop_assert!(dealt.iter().all(|queue| *queue < queues));
            prop_assert_eq!(dealt, deal(hash, queues, hand));
        }
    }

    #[test]
    fn queues_are_dealt_evenly() {
        let mut counts = [0u32; 16];
        for number in 0..16_000u64 {
            let hash = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
            deal(hash, 16, 4).into_iter().for_each(|queue| counts[queue] += 1);
        }
        assert!(counts.iter().all(|count| (3_700..4_300).contains(count)), "{counts:?}");
    }
}
