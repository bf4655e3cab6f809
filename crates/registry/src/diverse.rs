//! Diverse samples: half of the peers are drawn uniformly, and half from different networks.
//!
//! A party that registers from few networks can fill a uniform sample, but not the half that comes
//! from different networks. `docs/isolation.md` has the bounds and their proofs.

use std::collections::HashMap;
use std::hash::Hash;

/// The number of candidates that a store draws for each peer of a diverse sample if it can't draw
/// from all networks directly.
///
/// If a share `f` of the matching peers belongs to one party, about `16 · (1 - f)` candidates for
/// each listed peer belong to others. For example, with a sample of 20 peers and an `f` of nine
/// tenths, 32 of the 320 candidates belong to others.
pub const CANDIDATES_PER_PEER: usize = 16;

/// The numbers of uniformly drawn peers, and of peers from different networks, in a diverse sample
/// of `limit` peers.
pub const fn diverse_halves(limit: usize) -> (usize, usize) {
    (limit.div_ceil(2), limit / 2)
}

/// Chooses a diverse sample of up to `limit` of the candidates. `candidates` has distinct peers in
/// random order, each with its network. `random` returns a number below its argument.
///
/// The function alternates between two steps. First it takes the next candidate in the given order.
/// Then it draws a network uniformly, from those that it has not drawn yet, and takes the first
/// candidate of that network that is not chosen yet. When all networks have been drawn, it takes
/// the remaining candidates in the given order.
///
/// ```
/// use aurora_discovery_registry::choose_diverse;
///
/// let candidates = vec![("a", 1), ("b", 1), ("c", 1), ("d", 1), ("e", 2)];
/// let chosen = choose_diverse(candidates, 4, &mut |below| fastrand::u32(..below));
/// assert!(chosen.contains(&"a") && chosen.contains(&"e"));
/// ```
pub fn choose_diverse<T, N: Eq + Hash>(
    candidates: Vec<(T, N)>,
    limit: usize,
    random: &mut impl FnMut(u32) -> u32,
) -> Vec<T> {
    let (peers, networks): (Vec<T>, Vec<N>) = candidates.into_iter().unzip();
    let mut peers: Vec<Option<T>> = peers.into_iter().map(Some).collect();
    // The candidates of each network form a linked list: `firsts` has the first candidate of each
    // network, and `following` the next candidate after each one. The candidates are in random
    // order, so each candidate of a network is equally likely to be the first.
    let mut following = vec![None; peers.len()];
    let mut firsts = HashMap::new();
    for (index, network) in networks.into_iter().enumerate().rev() {
        following[index] = firsts.insert(network, index);
    }
    let mut networks: Vec<usize> = firsts.into_values().collect();
    // A hash map has a random order. Without sorting, the result would be random even if `random`
    // is a seeded generator.
    networks.sort_unstable();
    let mut chosen = Vec::with_capacity(limit.min(peers.len()));
    let mut in_order = 0..peers.len();
    while chosen.len() < limit {
        let Some(next) = in_order.find_map(|index| peers[index].take()) else { break };
        chosen.push(next);
        while chosen.len() < limit && !networks.is_empty() {
            let drawn = random(u32::try_from(networks.len()).unwrap_or(u32::MAX));
            let first = networks.swap_remove(drawn as usize);
            let mut of_network = std::iter::successors(Some(first), |index| following[*index]);
            // If all candidates of the network are chosen already, another network is drawn.
            if let Some(peer) = of_network.find_map(|index| peers[index].take()) {
                chosen.push(peer);
                break;
            }
        }
    }
    chosen
}

/// Merges the halves of a diverse sample alternately. A page that is cut off at its maximum size in
/// bytes then keeps about equally many peers of both halves.
pub fn interleave<T>(uniform: Vec<T>, different: Vec<T>) -> Vec<T> {
    let mut merged = Vec::with_capacity(uniform.len() + different.len());
    let mut different = different.into_iter();
    for peer in uniform {
        merged.push(peer);
        merged.extend(different.next());
    }
    merged.extend(different);
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(candidates: &[(u32, u32)], limit: usize) -> Vec<u32> {
        choose_diverse(candidates.to_vec(), limit, &mut |below| fastrand::u32(..below))
    }

    #[test]
    fn every_candidate_is_chosen_if_they_fit() {
        for limit in [5, 6, 20] {
            let mut chosen = choose(&[(1, 1), (2, 1), (3, 2), (4, 1), (5, 3)], limit);
            chosen.sort_unstable();
            assert_eq!(chosen, [1, 2, 3, 4, 5]);
        }
        assert!(choose(&[], 3).is_empty());
    }

    #[test]
    fn the_second_half_comes_from_as_many_networks_as_there_are() {
        let candidates: Vec<_> = (0..100).map(|peer| (peer, if peer < 90 { 0 } else { peer })).collect();
        for _ in 0..100 {
            let chosen = choose(&candidates, 20);
            let mut distinct = chosen.clone();
            distinct.sort_unstable();
            distinct.dedup();
            assert_eq!((chosen.len(), distinct.len()), (20, 20));
            // Ten of the chosen peers come from different networks. There are eleven networks, and
            // ninety candidates are in one of them.
            assert!(chosen.iter().filter(|peer| **peer >= 90).count() >= 9, "{chosen:?}");
        }
        let chosen = choose(&[(0, 0), (1, 0), (2, 0), (3, 1), (4, 0)], 4);
        assert_eq!((chosen.len(), chosen[0], chosen.contains(&3)), (4, 0, true));
    }

    #[test]
    fn a_cut_list_keeps_both_halves() {
        assert_eq!(interleave(vec![1, 2, 3], vec![7, 8]), [1, 7, 2, 8, 3]);
        assert_eq!(interleave(vec![1], vec![7, 8]), [1, 7, 8]);
        assert_eq!(interleave(Vec::<u32>::new(), vec![7]), [7]);
        assert_eq!([1, 2, 5, 20].map(diverse_halves), [(1, 0), (1, 1), (3, 2), (10, 10)]);
    }
}
