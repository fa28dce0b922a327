use rand::{Rng, SeedableRng};

use super::*;

fn key(n: u32) -> PageKey {
    PageKey::root("t").next(&[n])
}

#[test]
fn page_reservation_is_all_or_nothing_and_drop_frees_the_pages() {
    let allocator = PageAllocator::new(4);
    let first = allocator.reserve(PAGE_TOKENS + 1).unwrap();
    assert_eq!(first.pages(), [0, 1]);
    assert_eq!(first.capacity(), 2 * PAGE_TOKENS);
    assert!(allocator.reserve(3 * PAGE_TOKENS).is_none());
    assert_eq!(allocator.free_pages(), 2);
    let second = allocator.reserve(2 * PAGE_TOKENS).unwrap();
    assert_eq!(allocator.free_pages(), 0);
    drop(first);
    assert_eq!(allocator.free_pages(), 2);
    drop(second);
    assert_eq!(allocator.free_pages(), allocator.total_pages());
}

#[test]
fn registered_pages_are_found_while_in_use_and_after_release() {
    let allocator = PageAllocator::new(3);
    let mut first = allocator.reserve(PAGE_TOKENS).unwrap();
    let page = first.pages()[0];
    first.keep(0, key(1));
    let mut second = allocator.table();
    assert!(second.take_cached(&key(1)) && !second.take_cached(&key(2)));
    assert_eq!((second.pages(), allocator.free_pages()), (&[page][..], 2));
    drop(first);
    assert_eq!(allocator.free_pages(), 2, "the second still holds it");
    drop(second);
    assert_eq!((allocator.free_pages(), allocator.cached_pages()), (3, 1));
    let mut third = allocator.table();
    assert!(third.take_cached(&key(1)));
    assert_eq!((third.pages(), allocator.cached_pages()), (&[page][..], 0));
}

#[test]
fn cached_pages_are_evicted_least_recently_used_and_tail_first() {
    let allocator = PageAllocator::new(4);
    let mut old = allocator.reserve(2 * PAGE_TOKENS).unwrap();
    let mut new = allocator.reserve(2 * PAGE_TOKENS).unwrap();
    for (table, from) in [(&mut old, 0), (&mut new, 2)] {
        table.keep(0, key(from));
        table.keep(1, key(from + 1));
    }
    drop((old, new));
    let kept = |n| allocator.table().take_cached(&key(n));
    let _one = allocator.reserve(1).unwrap();
    // The old chain's tail was reused. Looking the others up made them the most recently used.
    assert_eq!([kept(0), kept(1), kept(2), kept(3)], [true, false, true, true]);
    let _two = allocator.reserve(1).unwrap();
    assert_eq!([kept(0), kept(2), kept(3)], [false, true, true]);
    let mut rest = allocator.reserve(2 * PAGE_TOKENS).unwrap();
    assert!(!kept(2) && !kept(3) && !rest.grow(2 * PAGE_TOKENS + 1));
}

#[test]
fn duplicate_pages_are_registered_once_and_forgotten_pages_are_not_found() {
    let allocator = PageAllocator::new(2);
    let (mut first, mut second) = (allocator.reserve(1).unwrap(), allocator.reserve(1).unwrap());
    first.keep(0, key(1));
    second.keep(0, key(1));
    drop(second);
    assert_eq!((allocator.free_pages(), allocator.cached_pages()), (1, 0));
    first.forget();
    drop(first);
    assert!(!allocator.table().take_cached(&key(1)));
    assert_eq!((allocator.free_pages(), allocator.cached_pages()), (2, 0));
}

/// In random use a page is either held or free, its holders are counted correctly, and a page that
/// is found still has the contents registered under its key.
#[test]
fn no_page_leaks_or_is_reused_while_in_use() {
    let mut random = rand::rngs::StdRng::seed_from_u64(3);
    let allocator = PageAllocator::new(50);
    let mut held: Vec<BlockTable> = Vec::new();
    // The contents of each page, as last written.
    let mut written: Vec<Option<u32>> = vec![None; 50];
    for _ in 0..5_000 {
        match random.random_range(0..4) {
            0 => {
                let table = allocator.reserve(random.random_range(1..300));
                for page in table.iter().flat_map(|table| table.pages()) {
                    assert!(held.iter().all(|other| !other.pages().contains(page)));
                    written[*page as usize] = None;
                }
                held.extend(table);
            }
            1 if !held.is_empty() => {
                let index = random.random_range(0..held.len());
                let table = &mut held[index];
                let place = random.random_range(0..table.pages().len());
                let page = table.pages()[place] as usize;
                if written[page].is_none() {
                    let content = random.random_range(0..40);
                    written[page] = Some(content);
                    table.keep(place, key(content));
                }
            }
            2 => {
                let (mut table, content) = (allocator.table(), random.random_range(0..40));
                if table.take_cached(&key(content)) {
                    assert_eq!(written[table.pages()[0] as usize], Some(content));
                    held.push(table);
                }
            }
            _ if !held.is_empty() => {
                held.swap_remove(random.random_range(0..held.len()));
            }
            _ => {}
        }
        let mut pages: Vec<u32> = held.iter().flat_map(|table| table.pages().to_vec()).collect();
        pages.sort_unstable();
        pages.dedup();
        assert_eq!(pages.len() + allocator.free_pages(), 50);
    }
    held.clear();
    assert_eq!(allocator.free_pages(), 50);
    assert!(allocator.lock().states.iter().all(|page| page.holders == 0));
}
