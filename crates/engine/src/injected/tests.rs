use super::*;

const HIDDEN: usize = 2;

fn rows(start: usize, positions: Vec<[u32; 3]>) -> InjectedRows {
    let values = (0..positions.len() * HIDDEN).map(|n| n as f32).collect();
    InjectedRows { start, positions, values, added: [].into(), hash: [7; 32] }
}

/// Returns the positions of an image's rows, row by row of the image.
fn image(height: u32, width: u32) -> Vec<[u32; 3]> {
    (0..height * width).map(|n| [0, n / width, n % width]).collect()
}

/// Text, an image of 2 × 3, text, an image of 1 × 2, text; positions as in figure 3 of the paper.
#[test]
fn text_continues_after_the_largest_position_of_an_image() {
    let both = vec![rows(2, image(2, 3)), rows(9, image(1, 2))];
    let injected = Injected::new(both, 12, HIDDEN, 0).unwrap();
    let positions: Vec<_> = (0..14).map(|token| injected.position(token)).collect();
    let expected = [
        [0, 0, 0],
        [1, 1, 1],
        [2, 2, 2],
        [2, 2, 3],
        [2, 2, 4],
        [2, 3, 2],
        [2, 3, 3],
        [2, 3, 4],
        [5, 5, 5],
        [6, 6, 6],
        [6, 6, 7],
        [8, 8, 8],
        [9, 9, 9], // generated
        [10, 10, 10],
    ];
    assert_eq!(positions, expected);
    assert_eq!(NOTHING.position(5), [5; 3]);
    let text = Injected::new(vec![rows(1, InjectedRows::consecutive_positions(4))], 9, HIDDEN, 0);
    let text = text.unwrap();
    assert!((0..9).all(|token| text.position(token) == NOTHING.position(token)));
}

#[test]
fn a_chunk_gets_the_rows_of_its_tokens() {
    let both = vec![rows(2, image(2, 3)), rows(8, image(1, 2))];
    let injected = Injected::new(both, 10, HIDDEN, 0).unwrap();
    let slices = |chunk: Range<usize>| -> Vec<(Range<usize>, Vec<f32>)> {
        let slices = injected.slices(chunk);
        slices.map(|slice| (slice.rows.clone(), slice.values(HIDDEN).to_vec())).collect()
    };
    assert_eq!(slices(0..2), []);
    assert_eq!(slices(0..4), [(2..4, vec![0.0, 1.0, 2.0, 3.0])]);
    assert_eq!(
        slices(4..9),
        [(0..4, vec![4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0]), (4..5, vec![0.0, 1.0])]
    );
    assert_eq!(slices(10..11), []);
    let contents: Vec<_> = injected.contents(6..10).map(|one| (one.row, one.offset)).collect();
    assert_eq!(contents, [(0, 4), (1, 5), (2, 0), (3, 1)]);
}

#[test]
fn rows_that_do_not_fit_are_refused() {
    let refused = |rows: Vec<InjectedRows>| Injected::new(rows, 10, HIDDEN, 0).unwrap_err();
    let three = || InjectedRows::consecutive_positions(3);
    assert_eq!(refused(vec![rows(2, Vec::new())]), InjectError::Empty { start: 2 });
    let wide = InjectedRows { values: vec![0.0; 7].into(), ..rows(2, three()) };
    let wrong = InjectError::WrongWidth { start: 2, rows: 3, found: 7, hidden: HIDDEN };
    assert_eq!(refused(vec![wide]), wrong);
    let overlap = InjectError::Overlap { start: 4, end: 5 };
    assert_eq!(refused(vec![rows(2, three()), rows(4, three())]), overlap);
    let beyond = InjectError::BeyondPrompt { start: 8, end: 11, tokens: 10 };
    assert_eq!(refused(vec![rows(8, three())]), beyond);
    assert!(matches!(refused(vec![rows(usize::MAX, three())]), InjectError::BeyondPrompt { .. }));
    let nan = InjectedRows { values: vec![f32::NAN; 6].into(), ..rows(2, three()) };
    assert_eq!(refused(vec![nan]), InjectError::NotFinite { start: 2 });
    let far = rows(2, vec![[0, u32::MAX, 0]]);
    let position = u64::from(u32::MAX) + 2;
    assert_eq!(refused(vec![far]), InjectError::FarPosition { start: 2, position });
}

#[test]
fn rows_that_are_added_after_layers_must_fit_the_model() {
    let with = |added: Vec<f32>, layers: usize| {
        let rows = InjectedRows { added: added.into(), ..rows(1, image(1, 2)) };
        Injected::new(vec![rows], 4, HIDDEN, layers)
    };
    let injected = with((0..12).map(|n| n as f32).collect(), 3).unwrap();
    let slice = injected.slices(2..4).next().unwrap();
    assert_eq!(slice.rows, 0..1);
    let of = |layer: usize| slice.added(layer, HIDDEN).map(<[f32]>::to_vec);
    let expected = [vec![2.0, 3.0], vec![6.0, 7.0], vec![10.0, 11.0]].map(Some);
    assert_eq!([of(0), of(1), of(2), of(3)], [&expected[..], &[None]].concat()[..]);
    for (added, layers, expected) in
        [(vec![0.0; 8], 3, 12), (Vec::new(), 1, 4), (vec![0.0; 4], 0, 0)]
    {
        let found = added.len();
        let error = with(added, layers).unwrap_err();
        let wrong = InjectError::WrongAddedLength { start: 1, rows: 2, layers, found, expected };
        assert_eq!(error, wrong);
    }
    let mut added = vec![0.0; 4];
    added[3] = f32::NAN;
    assert_eq!(with(added, 1).unwrap_err(), InjectError::NotFinite { start: 1 });
}
