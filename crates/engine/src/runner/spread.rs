//! Divides a model's layers among devices, before any weight is loaded. Pure.
//!
//! GPUs come first. If the model fits beside enough pages, it is on the GPUs alone, and each is equally full.
//! Otherwise the rest goes to the CPU, if it was named, and the GPUs are filled one after the other. The number
//! of pages is the same everywhere: a page has the keys and values of each layer where that layer is.

use std::ops::RangeInclusive;

/// A device and its memory.
#[derive(Debug, Clone)]
pub(super) struct Room {
    /// The device's name.
    pub(super) name: String,
    /// Whether it is a GPU. The CPU, if present, comes last.
    pub(super) is_gpu: bool,
    /// Bytes that the model may take there.
    pub(super) free: usize,
    /// The fraction of the memory left by weights and workspace that pages may use.
    pub(super) share: (usize, usize),
}

/// The memory needs of a model, in bytes.
#[derive(Debug, Clone)]
pub(super) struct Needs {
    /// The weights of each layer.
    pub(super) layers: Vec<usize>,
    /// The tensors after the last layer.
    pub(super) end: usize,
    /// The activations between the layers, on each device.
    pub(super) workspace: usize,
    /// A page's keys and values of one layer.
    pub(super) page: usize,
    /// The desired number of pages.
    pub(super) pages: PageTargets,
}

/// The desired number of pages.
#[derive(Debug, Clone, Copy)]
pub(super) struct PageTargets {
    /// The minimum: the exact number if it is set.
    pub(super) least: usize,
    /// The comfortable number: more do not move a layer off the GPUs.
    pub(super) enough: usize,
    /// The maximum that is useful.
    pub(super) most: usize,
}

/// Returns how many layers each device takes: at least one each, apart from the CPU, which may take none.
/// `None` if they do not fit.
pub(super) fn divide(needs: &Needs, rooms: &[Room]) -> Option<Vec<usize>> {
    let (gpus, cpu) = match rooms.split_last() {
        Some((last, gpus)) if !last.is_gpu => (gpus, Some(last)),
        _ => (rooms, None),
    };
    let PageTargets { least, enough, most } = needs.pages;
    let alone = |pages: usize, thousandths: usize| {
        let all = needs.layers.len();
        needs.fill(gpus, pages, thousandths, all..=all)
    };
    let from = if cpu.is_some() { enough } else { least };
    if let Some(pages) = largest(from, most, |pages| alone(pages, 1000).is_some()) {
        let spared = largest(0, 999, |spared| alone(pages, 1000 - spared).is_some())?;
        let mut sizes = alone(pages, 1000 - spared)?;
        sizes.extend(cpu.map(|_| 0));
        return Some(sizes);
    }
    let cpu = cpu?;
    let together = |pages: usize| {
        let mut sizes = needs.fill(gpus, pages, 1000, 1..=needs.layers.len())?;
        let rest = sizes.iter().sum()..needs.layers.len();
        sizes.push(rest.len());
        let workspace = if rest.is_empty() { 0 } else { needs.workspace };
        let costs = rest.map(|layer| needs.cost(layer, pages, cpu));
        (costs.fold(workspace, usize::saturating_add) <= cpu.free).then_some(sizes)
    };
    let pages = largest(least, enough, |pages| together(pages).is_some())?;
    together(pages)
}

impl Needs {
    /// Returns the memory that a layer takes with that many pages.
    fn cost(&self, layer: usize, pages: usize, room: &Room) -> usize {
        let (part, whole) = room.share;
        let end = if layer + 1 == self.layers.len() { self.end } else { 0 };
        let pages = pages.saturating_mul(self.page).saturating_mul(whole) / part;
        self.layers[layer].saturating_add(end).saturating_add(pages)
    }

    /// Returns how many layers each GPU takes, at least one, if it may fill that many thousandths of its
    /// memory: in total the largest possible of the given counts, and on the first GPUs more than on the last.
    fn fill(
        &self,
        gpus: &[Room],
        pages: usize,
        thousandths: usize,
        numbers: RangeInclusive<usize>,
    ) -> Option<Vec<usize>> {
        let count = self.layers.len();
        // By GPU and layer: the number of layers that fit on that GPU from that layer on.
        let mut fit = vec![vec![0; count]; gpus.len()];
        // By GPUs and layers: whether the first GPUs can take exactly the first layers.
        let mut can = vec![vec![false; count + 1]; gpus.len() + 1];
        can[0][0] = true;
        for (index, gpu) in gpus.iter().enumerate() {
            let room = (gpu.free as u128 * thousandths as u128 / 1000) as usize;
            let room = room.checked_sub(self.workspace)?;
            for start in (0..count).filter(|start| can[index][*start]).collect::<Vec<_>>() {
                let mut left = Some(room);
                let fits = (start..count).take_while(|layer| {
                    left = left.and_then(|left| left.checked_sub(self.cost(*layer, pages, gpu)));
                    left.is_some()
                });
                fit[index][start] = fits.count();
                can[index + 1][start + 1..=start + fit[index][start]].fill(true);
            }
        }
        let mut end = numbers.rev().find(|number| can[gpus.len()][*number])?;
        let mut sizes = vec![0; gpus.len()];
        for (index, size) in sizes.iter_mut().enumerate().rev() {
            let begins = |start: &usize| can[index][*start] && start + fit[index][*start] >= end;
            let start = (0..end).rev().find(begins)?;
            (*size, end) = (end - start, start);
        }
        Some(sizes)
    }
}

/// Returns the largest possible number of a range, or `None`. If a number is possible, all smaller ones are.
fn largest(least: usize, most: usize, possible: impl Fn(usize) -> bool) -> Option<usize> {
    let (mut yes, mut no) = (least, most.max(least) + 1);
    if !possible(yes) {
        return None;
    }
    while no - yes > 1 {
        let middle = yes + (no - yes) / 2;
        if possible(middle) { yes = middle } else { no = middle }
    }
    Some(yes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    fn gpu(free: usize) -> Room {
        Room { name: "cuda".into(), is_gpu: true, free: free * MIB, share: (9, 10) }
    }

    fn cpu(free: usize) -> Room {
        Room { name: "cpu".into(), is_gpu: false, free: free * MIB, share: (1, 3) }
    }

    /// Ten layers of 100 MiB, a head of 150, pages of 1 MiB per layer.
    fn needs(least: usize, enough: usize, most: usize) -> Needs {
        let pages = PageTargets { least, enough, most };
        Needs { layers: vec![100 * MIB; 10], end: 150 * MIB, workspace: 50 * MIB, page: MIB, pages }
    }

    #[test]
    fn layers_are_divided_in_proportion_to_gpu_memory() {
        // The head is larger than a layer, so the second GPU has at least one layer less.
        assert_eq!(divide(&needs(1, 1, 1), &[gpu(2000), gpu(2000)]), Some(vec![6, 4]));
        assert_eq!(divide(&needs(1, 1, 1), &[gpu(400), gpu(4000)]), Some(vec![1, 9]));
        assert_eq!(
            divide(&needs(1, 1, 1), &[gpu(4000), gpu(1000), gpu(1000)]),
            Some(vec![8, 1, 1])
        );
    }

    #[test]
    fn layers_that_do_not_fit_on_gpus_are_placed_on_the_cpu() {
        let wish = needs(1, 9, 1000);
        // Everything fits beside enough pages: 50 + 150 + 10 · 110.
        assert_eq!(divide(&wish, &[gpu(1300), cpu(9000)]), Some(vec![10, 0]));
        // Just too small; the head moves with the last layer.
        assert_eq!(divide(&wish, &[gpu(1299), cpu(9000)]), Some(vec![9, 1]));
        assert_eq!(divide(&wish, &[gpu(600), cpu(9000)]), Some(vec![5, 5]));
        assert_eq!(divide(&wish, &[gpu(600), gpu(300), cpu(9000)]), Some(vec![5, 2, 3]));
        // Fewer pages if the CPU's memory is short: 50 + 150 + 5 · (100 + 3 · pages).
        assert_eq!(divide(&wish, &[gpu(600), cpu(745)]), Some(vec![5, 5]));
    }

    #[test]
    fn models_that_do_not_fit_are_refused() {
        let wish = needs(9, 9, 9);
        assert_eq!(divide(&wish, &[gpu(600), gpu(600)]), None, "neither of them has room");
        assert_eq!(
            divide(&wish, &[gpu(600), cpu(700)]),
            None,
            "the processor has none for the rest"
        );
        assert_eq!(divide(&wish, &[gpu(159), cpu(9000)]), None, "no layer fits on the GPU");
        assert_eq!(divide(&wish, &[gpu(9000), gpu(40)]), None, "one of them is of no use");
        assert_eq!(divide(&Needs { layers: vec![1; 2], ..wish }, &vec![gpu(900); 3]), None);
    }

    /// Returns all ways to divide the layers.
    fn ways(layers: usize, rooms: &[Room]) -> Vec<Vec<usize>> {
        let Some((room, others)) = rooms.split_first() else {
            return if layers == 0 { vec![vec![]] } else { vec![] };
        };
        let sizes = usize::from(room.is_gpu)..=layers;
        let with = |size| {
            let rest = ways(layers - size, others).into_iter();
            rest.map(move |rest| [vec![size], rest].concat())
        };
        sizes.flat_map(with).collect()
    }

    fn fits(needs: &Needs, rooms: &[Room], sizes: &[usize], pages: usize) -> bool {
        let mut first = 0;
        rooms.iter().zip(sizes).all(|(room, size)| {
            let cost: usize =
                (first..first + size).map(|layer| needs.cost(layer, pages, room)).sum();
            first += size;
            *size == 0 || needs.workspace + cost <= room.free
        })
    }

    /// Compares with all possible divisions: a division that fits is found, and no layer is on the CPU needlessly.
    #[test]
    fn division_finds_a_fit_whenever_one_exists() {
        let mut state = 1_u64;
        let mut random = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            ((state >> 33) % below) as usize
        };
        let (mut found, mut spread) = (0, 0);
        for _ in 0..3000 {
            let layers = (0..2 + random(5)).map(|_| (20 + random(100)) * MIB).collect();
            let least = 1 + random(20);
            let enough = least + random(20);
            let pages = PageTargets { least, enough, most: enough + random(50) };
            let (end, workspace) = (random(200) * MIB, random(60) * MIB);
            let needs = Needs { layers, end, workspace, page: MIB, pages };
            let mut rooms: Vec<Room> = (0..1 + random(2)).map(|_| gpu(40 + random(500))).collect();
            if random(2) == 0 {
                rooms.push(cpu(40 + random(900)));
            }
            let ways = ways(needs.layers.len(), &rooms);
            let possible = |pages| ways.iter().any(|sizes| fits(&needs, &rooms, sizes, pages));
            let sizes = divide(&needs, &rooms);
            assert_eq!(sizes.is_some(), possible(least), "{needs:?} {rooms:?}");
            let Some(sizes) = sizes else { continue };
            found += 1;
            assert!(fits(&needs, &rooms, &sizes, least), "{sizes:?} {needs:?} {rooms:?}");
            assert!(ways.contains(&sizes));
            if rooms.last().is_some_and(|room| !room.is_gpu) && sizes[sizes.len() - 1] > 0 {
                spread += 1;
                let without = ways.iter().filter(|sizes| sizes[sizes.len() - 1] == 0);
                assert!(!without.into_iter().any(|sizes| fits(&needs, &rooms, sizes, enough)));
            }
        }
        assert!(found > 500 && spread > 100, "too little to tell anything: {found}, {spread}");
    }
}
