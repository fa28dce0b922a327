use std::sync::mpsc;

use super::*;
use crate::vision::{Precision, TowerSpec};

fn encoder(options: EncoderOptions) -> Encoder {
    let spec = TowerSpec {
        patch: 4,
        width: 16,
        depth: 1,
        heads: 2,
        feed_forward: 16,
        deepstack: vec![0],
        ..TowerSpec::of_name("qwen3-vl-2b", 8).unwrap()
    };
    let pixels = PixelRange { min: 64, max: 64 * 64 };
    let spec = TowerSpec { pixels, position_side: Some(3), ..spec };
    Encoder::start(Tower::random(spec, Precision::Full).unwrap(), options).unwrap()
}

fn image(color: u8) -> Image {
    Image { width: 20, height: 12, rgb: [color, 7, 200].repeat(240) }
}

fn encode(
    encoder: &Encoder,
    image: &Image,
    range: Option<PixelRange>,
) -> Result<Arc<EncodedImage>, EncodeError> {
    encoder.encode(&encoder.resize(image, range)?, &|| false)
}

#[test]
fn an_image_is_encoded_once_by_all_that_ask_for_it_together() {
    let encoder = encoder(EncoderOptions { threads: 2, ..EncoderOptions::default() });
    let encode = |n: u8| encode(&encoder, &image(n % 3), None).unwrap();
    let encode = &encode;
    let outcomes: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..30).map(|n| scope.spawn(move || encode(n))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(encoder.counts(), (3, 27));
    for (n, outcome) in outcomes.iter().enumerate() {
        assert_eq!(*outcome, outcomes[n % 3], "{n}");
        assert_ne!(outcome.rows, outcomes[(n + 1) % 3].rows);
    }
    let encoded = &outcomes[0];
    // Halves of a token are rounded to even: 12 of 8 rows are 2, 20 of 8 columns are 2.
    assert_eq!(encoded.grid, Grid { time: 1, height: 4, width: 4 });
    assert_eq!((encoded.rows.len(), encoded.added.len()), (4 * 8, 4 * 8));
    let rows = encoded.at(5);
    assert_eq!((rows.start, rows.positions.len(), rows.hash), (5, 4, encoded.hash));
}

#[test]
fn another_size_of_the_same_image_is_another_entry() {
    let encoder = encoder(EncoderOptions::default());
    let range = |pixels| Some(PixelRange { min: pixels, max: pixels });
    let (small, large) = (range(64), range(1024));
    let small = encode(&encoder, &image(1), small).unwrap();
    let large = encode(&encoder, &image(1), large).unwrap();
    assert!(small.positions.len() < large.positions.len());
    assert_ne!(small.hash, large.hash);
    let error = encode(&encoder, &image(1), range(63)).unwrap_err();
    assert!(matches!(error, EncodeError::Range { least: 64, .. }), "{error}");
    let narrow = Image { width: 201, height: 1, rgb: vec![0; 603] };
    assert!(matches!(encode(&encoder, &narrow, None), Err(EncodeError::Image(_))));
}

#[test]
fn the_images_unused_for_longest_make_room() {
    let bytes = encode(&encoder(EncoderOptions::default()), &image(1), None).unwrap().bytes();
    let encoder = encoder(EncoderOptions { cache_bytes: 2 * bytes, ..EncoderOptions::default() });
    for color in [1, 2, 1, 3, 1, 2] {
        encode(&encoder, &image(color), None).unwrap();
    }
    // 3 took the place of 2.
    assert_eq!(encoder.counts(), (4, 2));
    assert!(encoder.shared.lock().cache.bytes <= 2 * bytes);
}

#[test]
fn more_tokens_than_allowed_are_reduced() {
    let encoder = encoder(EncoderOptions { max_tokens: 2, ..EncoderOptions::default() });
    let encoded = encode(&encoder, &image(1), Some(PixelRange { min: 4096, max: 4096 })).unwrap();
    assert!(encoded.positions.len() <= 2);
}

#[test]
fn a_request_does_not_exceed_the_models_own_maximum() {
    let encoder = encoder(EncoderOptions::default());
    let size = |min, max| encoder.resize(&image(1), Some(PixelRange { min, max })).unwrap().size();
    let of_model = encoder.resize(&image(1), None).unwrap().size();
    let (most, beyond) = (64 * 64, 1024 * 1024);
    assert_eq!(size(most, beyond), size(most, most));
    assert_ne!(size(most, beyond), of_model);
    assert_eq!(size(beyond, 2 * beyond), of_model);
}

#[test]
fn images_that_nobody_waits_for_leave_the_queue() {
    let encoder = encoder(EncoderOptions::default());
    let large = Some(PixelRange { min: 4096, max: 4096 });
    // Its caller never gives up, so the thread is busy with it.
    let first = encoder.resize(&image(1), large).unwrap();
    let (encoder, first) = (&encoder, &first);
    std::thread::scope(|scope| {
        let (asked, asks) = mpsc::channel();
        let busy = scope.spawn(move || {
            encoder.encode(first, &|| {
                // Once while it waits.
                let _ = asked.send(());
                false
            })
        });
        asks.recv().unwrap();
        let other = encoder.resize(&image(2), large).unwrap();
        let given_up = encoder.encode(&other, &|| true);
        assert!(matches!(given_up, Err(EncodeError::GivenUp)) || given_up.is_ok());
        busy.join().unwrap().unwrap();
        let computed = encoder.counts().0;
        assert_eq!(computed, 1 + u64::from(given_up.is_ok()));
        // It can be asked for again.
        encoder.encode(&other, &|| false).unwrap();
    });
}

#[test]
fn images_for_another_tower_are_refused() {
    let encoder = encoder(EncoderOptions { max_tokens: 4, ..EncoderOptions::default() });
    let own = encoder.size_rule();
    for model in [SizeRule { side: 28, ..own }, SizeRule { max_tokens: 5, ..own }] {
        let other = ResizedImage::new(&image(1), (8, 8), model);
        assert_eq!(encoder.encode(&other, &|| false).unwrap_err(), EncodeError::OtherModel);
    }
}
