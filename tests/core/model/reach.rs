//! From every state the finished state can be reached, without another fault (L4).

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Mutex;

/// The graph as it was explored: states by their fingerprints.
#[derive(Default)]
pub struct Edges(Mutex<Graph>);

#[derive(Default)]
struct Graph {
    edges: Vec<(u64, u64)>,
    /// Of a fault: it only makes the state known.
    faults: Vec<(u64, u64)>,
    finished: HashSet<u64>,
}

impl Edges {
    pub fn add(&self, from: u64, to: u64, fault: bool, finished: bool) {
        let mut graph = self.0.lock().unwrap();
        let edges = if fault { &mut graph.faults } else { &mut graph.edges };
        edges.push((from, to));
        if finished {
            graph.finished.insert(to);
        }
    }

    /// States from which the finished state cannot be reached.
    pub fn stuck(&self) -> HashSet<u64> {
        let graph = self.0.lock().unwrap();
        let all: HashSet<u64> = graph.edges.iter().chain(&graph.faults).flat_map(|(from, to)| [*from, *to]).collect();
        let mut before: HashMap<u64, Vec<u64>> = HashMap::new();
        for (from, to) in &graph.edges {
            before.entry(*to).or_default().push(*from);
        }
        let mut reached: HashSet<u64> = graph.finished.clone();
        let mut next: Vec<u64> = reached.iter().copied().collect();
        while let Some(state) = next.pop() {
            for from in before.get(&state).into_iter().flatten() {
                if reached.insert(*from) {
                    next.push(*from);
                }
            }
        }
        all.difference(&reached).copied().collect()
    }

    /// The shortest way from `first` to one of `states`: fingerprints.
    pub fn path(&self, first: u64, states: &HashSet<u64>) -> Vec<u64> {
        let graph = self.0.lock().unwrap();
        let mut after: HashMap<u64, Vec<u64>> = HashMap::new();
        for (from, to) in graph.edges.iter().chain(&graph.faults) {
            after.entry(*from).or_default().push(*to);
        }
        let mut came_from = HashMap::from([(first, first)]);
        let mut queue = VecDeque::from([first]);
        while let Some(state) = queue.pop_front() {
            if states.contains(&state) {
                let mut path = vec![state];
                while path.last() != Some(&first) {
                    path.push(came_from[path.last().unwrap()]);
                }
                path.reverse();
                return path;
            }
            for to in after.get(&state).into_iter().flatten() {
                if !came_from.contains_key(to) {
                    came_from.insert(*to, state);
                    queue.push_back(*to);
                }
            }
        }
        Vec::new()
    }
}
