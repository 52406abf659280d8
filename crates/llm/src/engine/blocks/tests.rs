//! The block manager against a naive model of it, and by example.

use super::*;
use proptest::prelude::*;

const SIZE: usize = 4;

/// Registers consecutive full blocks of `tokens`, newly allocated.
fn fill(manager: &mut BlockManager, tokens: &[u32]) -> Vec<u32> {
    let mut chain = Chain::ROOT;
    tokens
        .chunks_exact(SIZE)
        .map(|tokens| {
            let id = manager.allocate().unwrap();
            chain = manager.register(id, chain, tokens).chain;
            id
        })
        .collect()
}

fn find_all(manager: &BlockManager, tokens: &[u32]) -> Vec<u32> {
    let mut chain = Chain::ROOT;
    let mut found = Vec::new();
    for tokens in tokens.chunks_exact(SIZE) {
        let Some(cached) = manager.find(chain, tokens) else {
            break;
        };
        found.push(cached.block);
        chain = cached.chain;
    }
    found
}

#[test]
fn released_blocks_are_found_until_their_place_is_needed() {
    let mut manager = BlockManager::new(3);
    let tokens: Vec<u32> = (0..8).collect();
    let mut table = fill(&mut manager, &tokens);
    let blocks = table.clone();
    manager.release_table(&mut table);
    assert_eq!(manager.counts().used, 0);
    assert_eq!(manager.counts().cached, 2);
    assert_eq!(find_all(&manager, &tokens), blocks);
    // The third block is free; then the end of the chain goes before its beginning.
    assert!(!blocks.contains(&manager.allocate().unwrap()));
    assert_eq!(manager.allocate(), Some(blocks[1]));
    assert_eq!(find_all(&manager, &tokens), blocks[..1]);
    assert_eq!(manager.allocate(), Some(blocks[0]));
    assert_eq!(manager.allocate(), None);
    assert_eq!(manager.counts().evictions, 2);
}

#[test]
fn the_least_recently_used_chain_goes_first() {
    let mut manager = BlockManager::new(2);
    let mut a = fill(&mut manager, &[1, 1, 1, 1]);
    let mut b = fill(&mut manager, &[2, 2, 2, 2]);
    manager.release_table(&mut a);
    manager.release_table(&mut b);
    let hit = find_all(&manager, &[1, 1, 1, 1])[0];
    manager.retain(hit);
    manager.release(hit);
    manager.allocate().unwrap();
    assert_eq!(find_all(&manager, &[1, 1, 1, 1]), [hit]);
    assert!(find_all(&manager, &[2, 2, 2, 2]).is_empty());
}

#[test]
fn equal_tokens_after_different_ones_are_different_contents() {
    let mut manager = BlockManager::new(4);
    fill(&mut manager, &[1, 1, 1, 1, 5, 5, 5, 5]);
    assert!(find_all(&manager, &[5, 5, 5, 5]).is_empty());
    assert_eq!(find_all(&manager, &[1, 1, 1, 1, 6, 5, 5, 5]).len(), 1);
}

#[test]
fn the_same_contents_are_registered_once() {
    let mut manager = BlockManager::new(2);
    let first = fill(&mut manager, &[7, 7, 7, 7])[0];
    let second = manager.allocate().unwrap();
    let cached = manager.register(second, Chain::ROOT, &[7, 7, 7, 7]);
    assert_eq!(cached.block, first);
    manager.release(second);
    assert_eq!(manager.available(), 1, "an unregistered block is free");
}

#[test]
fn a_shared_or_registered_block_is_copied_before_a_write() {
    let mut manager = BlockManager::new(3);
    let own = manager.allocate().unwrap();
    assert_eq!(manager.make_writable(own), Some(Writable::Own));
    manager.retain(own);
    let Some(Writable::Copy { to }) = manager.make_writable(own) else {
        panic!("a block with two holders was written in place");
    };
    assert_ne!(to, own);
    assert_eq!(manager.make_writable(own), Some(Writable::Own));

    manager.register(own, Chain::ROOT, &[1, 2, 3, 4]);
    let Some(Writable::Copy { to: second }) = manager.make_writable(own) else {
        panic!("a registered block was written in place");
    };
    // The registered block has no holder left, so a further copy may only take its place.
    assert_eq!(manager.counts().cached, 1);
    manager.retain(to);
    assert_eq!(manager.make_writable(to), Some(Writable::Copy { to: own }));
    assert_eq!(manager.make_writable(second), Some(Writable::Own));
    manager.retain(second);
    assert_eq!(manager.make_writable(second), None);
}

/// A sequence as the naive model sees it: its blocks, and the chains of those that are registered.
#[derive(Clone, Debug, Default)]
struct Table {
    tokens: Vec<u32>,
    blocks: Vec<u32>,
    chain: Vec<Chain>,
}

#[derive(Clone, Debug)]
enum Action {
    /// A new table over these tokens, as far as blocks suffice, prefix first looked up.
    Open(Vec<u32>),
    /// A second holder for all blocks of a table.
    Fork(usize),
    /// Write into the last block of a table.
    Write(usize),
    Close(usize),
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        // Few different tokens, so that prefixes are shared.
        3 => prop::collection::vec(0..2u32, SIZE..SIZE * 5).prop_map(Action::Open),
        1 => (0..8usize).prop_map(Action::Fork),
        1 => (0..8usize).prop_map(Action::Write),
        3 => (0..8usize).prop_map(Action::Close),
    ]
}

fn open(manager: &mut BlockManager, tokens: &[u32]) -> Table {
    let mut table = Table {
        tokens: tokens.to_vec(),
        ..Table::default()
    };
    for block_tokens in tokens.chunks(SIZE) {
        let before = *table.chain.last().unwrap_or(&Chain::ROOT);
        let full = block_tokens.len() == SIZE && table.chain.len() == table.blocks.len();
        if full && let Some(cached) = manager.find(before, block_tokens) {
            manager.retain(cached.block);
            table.blocks.push(cached.block);
            table.chain.push(cached.chain);
            continue;
        }
        let Some(id) = manager.allocate() else { break };
        table.blocks.push(id);
        if full {
            let cached = manager.register(id, before, block_tokens);
            assert_eq!(cached.block, id, "not found a moment ago");
            table.chain.push(cached.chain);
        }
    }
    table
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn no_block_leaks_or_is_freed_twice(
        total in 1..12usize,
        actions in prop::collection::vec(action(), 1..60),
    ) {
        let mut manager = BlockManager::new(total);
        let mut tables: Vec<Table> = Vec::new();
        // What each block holds, by the naive model: the tokens up to its end.
        let mut contents: HashMap<u32, Vec<u32>> = HashMap::new();
        for action in actions {
            let pick = |i: usize| if tables.is_empty() { None } else { Some(i % tables.len()) };
            match action {
                Action::Open(tokens) => {
                    let held: Vec<u32> = tables.iter().flat_map(|t| t.blocks.clone()).collect();
                    let table = open(&mut manager, &tokens);
                    for (i, &id) in table.blocks.iter().enumerate() {
                        let prefix = tokens[..tokens.len().min((i + 1) * SIZE)].to_vec();
                        if held.contains(&id) {
                            prop_assert_eq!(&contents[&id], &prefix, "shared under other tokens");
                        }
                        contents.insert(id, prefix);
                    }
                    prop_assert!(
                        table.blocks.len() == tokens.len().div_ceil(SIZE)
                            || manager.available() == 0
                    );
                    tables.push(table);
                }
                Action::Fork(i) => if let Some(i) = pick(i) {
                    let copy = tables[i].clone();
                    copy.blocks.iter().for_each(|&id| manager.retain(id));
                    tables.push(copy);
                },
                Action::Write(i) => if let Some(i) = pick(i) {
                    let Some(&last) = tables[i].blocks.last() else { continue };
                    let holders = tables.iter().flat_map(|t| &t.blocks).filter(|&&b| b == last);
                    let registered = tables[i].chain.len() == tables[i].blocks.len();
                    match manager.make_writable(last) {
                        Some(Writable::Own) => {
                            prop_assert_eq!(holders.count(), 1);
                            prop_assert!(!registered);
                        }
                        Some(Writable::Copy { to }) => {
                            prop_assert!(holders.count() > 1 || registered);
                            prop_assert!(!tables.iter().any(|t| t.blocks.contains(&to)));
                            let table = &mut tables[i];
                            *table.blocks.last_mut().unwrap() = to;
                            if registered {
                                table.chain.pop();
                            }
                            contents.insert(to, contents[&last].clone());
                        }
                        None => prop_assert_eq!(manager.available(), 0),
                    }
                },
                Action::Close(i) => if let Some(i) = pick(i) {
                    let mut table = tables.swap_remove(i);
                    manager.release_table(&mut table.blocks);
                },
            }
            let mut held: Vec<u32> = tables.iter().flat_map(|t| t.blocks.clone()).collect();
            for table in &tables {
                let found = find_all(&manager, &table.tokens);
                for (i, id) in found.iter().enumerate() {
                    let prefix = &table.tokens[..(i + 1) * SIZE];
                    prop_assert_eq!(&contents[id], prefix, "found under other tokens");
                }
            }
            held.sort_unstable();
            held.dedup();
            let counts = manager.counts();
            prop_assert_eq!(counts.used, held.len());
            prop_assert_eq!(counts.used + manager.available(), total);
        }
        for table in &mut tables {
            manager.release_table(&mut table.blocks);
        }
        prop_assert_eq!(manager.counts().used, 0);
        prop_assert_eq!(manager.available(), total);
    }
}
