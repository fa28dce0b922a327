//! Finds import cycles among sibling modules.

use std::collections::{BTreeMap, BTreeSet};

use crate::modules::ModulePath;

/// Two siblings that use each other, directly or through other siblings, and the references of the cycle.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Cycle {
    /// The siblings' parent.
    pub(crate) parent: ModulePath,
    /// The siblings, in alphabetic order.
    pub(crate) members: Vec<String>,
    /// Which module names which, as far as both belong to the cycle.
    pub(crate) because: Vec<String>,
}

/// Every cycle among siblings, at every level of the module tree.
///
/// A reference between two modules counts for the pair of siblings that hold them: `a::x` naming `b::y`
/// is `a → b`. A module and those inside it are one: a parent may use its children and they may use it.
pub(crate) fn find(edges: &BTreeSet<(ModulePath, ModulePath)>) -> Vec<Cycle> {
    type Reasons = BTreeMap<(String, String), Vec<String>>;
    let mut levels: BTreeMap<ModulePath, Reasons> = BTreeMap::new();
    for (from, to) in edges {
        let shared = from.iter().zip(to).take_while(|(a, b)| a == b).count();
        if shared < from.len() && shared < to.len() {
            let pair = (from[shared].clone(), to[shared].clone());
            let reason = format!("{} uses {}", from.join("::"), to.join("::"));
            levels
                .entry(from[..shared].to_vec())
                .or_default()
                .entry(pair)
                .or_default()
                .push(reason);
        }
    }
    levels.into_iter().flat_map(|(parent, pairs)| cycles_of(&parent, &pairs)).collect()
}

fn cycles_of(parent: &[String], pairs: &BTreeMap<(String, String), Vec<String>>) -> Vec<Cycle> {
    let names: BTreeSet<&String> = pairs.keys().flat_map(|(from, to)| [from, to]).collect();
    let reach: BTreeMap<&String, BTreeSet<&String>> =
        names.iter().map(|name| (*name, reachable(name, pairs))).collect();
    let mut seen: BTreeSet<&String> = BTreeSet::new();
    let mut cycles = vec![];
    for name in &names {
        if seen.contains(*name) || !reach[*name].contains(*name) {
            continue;
        }
        let members: BTreeSet<&String> =
            reach[*name].iter().copied().filter(|other| reach[*other].contains(*name)).collect();
        seen.extend(&members);
        let inside = |(from, to): &(String, String)| members.contains(from) && members.contains(to);
        let because = pairs
            .iter()
            .filter(|(pair, _)| inside(pair))
            .flat_map(|(_, why)| why.clone())
            .collect();
        cycles.push(Cycle {
            parent: parent.to_vec(),
            members: members.into_iter().cloned().collect(),
            because,
        });
    }
    cycles
}

fn reachable<'a>(
    start: &String,
    pairs: &'a BTreeMap<(String, String), Vec<String>>,
) -> BTreeSet<&'a String> {
    let next = |name: &String| {
        let name = name.clone();
        pairs.keys().filter(move |(from, _)| *from == name).map(|(_, to)| to)
    };
    let mut found: BTreeSet<&String> = BTreeSet::new();
    let mut open: Vec<&String> = next(start).collect();
    while let Some(name) = open.pop() {
        if found.insert(name) {
            open.extend(next(name));
        }
    }
    found
}
