//! Positions against transformers, and the goldens of videos.

use engine::injected::{Injected, InjectedRows};
use engine::vision::positions::{delta, offsets, time_step};
use engine::vision::{Grid, TowerSpec};

use super::{number, numbers, truth};

fn spec(family: &str) -> TowerSpec {
    let name = match family {
        "qwen2vl" => "qwen2-vl",
        "qwen2.5vl" => "qwen2.5-vl",
        _ => "qwen3-vl-2b",
    };
    TowerSpec::of_name(name, 1).unwrap()
}

fn grid(numbers: &[usize]) -> Grid {
    Grid { time: numbers[0], height: numbers[1], width: numbers[2] }
}

/// Returns the positions of all tokens of a prompt with these rows.
fn positions(tokens: usize, spans: &[(usize, Vec<[u32; 3]>)]) -> Vec<[u32; 3]> {
    let rows = spans.iter().map(|(start, positions)| InjectedRows {
        start: *start,
        values: vec![0.0; positions.len()].into(),
        positions: positions.clone(),
        added: [].into(),
        hash: [0; 32],
    });
    let injected = Injected::new(rows.collect(), tokens, 1, 0).unwrap();
    (0..tokens).map(|token| injected.position(token)).collect()
}

#[test]
fn positions_equal_transformers() {
    let truth = truth();
    let cases = truth["positions"].as_array().unwrap();
    assert_eq!(cases.len(), 7);
    for case in cases {
        let spec = spec(case["family"].as_str().unwrap());
        let tokens = number(&case["tokens"]);
        let step = time_step(&spec, case["fps"].as_f64().unwrap());
        let spans: Vec<_> = (case["spans"].as_array().unwrap().iter())
            .map(|span| {
                let is_video = number(&span[1]) == 2;
                let grid = grid(&numbers(&span[2]));
                (number(&span[0]), offsets(grid, 2, if is_video { step } else { 1.0 }))
            })
            .collect();
        let ours: Vec<Vec<usize>> = positions(tokens, &spans)
            .into_iter()
            .map(|position| position.map(|axis| axis as usize).to_vec())
            .collect();
        let theirs: Vec<Vec<usize>> = case["ids"].as_array().unwrap().iter().map(numbers).collect();
        assert_eq!(ours, theirs, "{case}");
        let delta = delta(tokens, spans.iter().map(|(start, offsets)| (*start, &offsets[..])));
        assert_eq!(delta, case["delta"].as_i64().unwrap());
    }
}

#[test]
fn goldens_of_images_and_videos() {
    let image = offsets(Grid { time: 1, height: 4, width: 6 }, 2, 1.0);
    let all = positions(11, &[(3, image.clone())]);
    let golden = [[3, 3, 3], [3, 3, 4], [3, 3, 5], [3, 4, 3], [3, 4, 4], [3, 4, 5], [6; 3], [7; 3]];
    assert_eq!(all[3..], golden);
    assert_eq!(delta(11, [(3, &image[..])]), -3);

    let qwen25 = spec("qwen2.5vl");
    let times = |fps: f64| -> Vec<u32> {
        let grid = Grid { time: 6, height: 2, width: 2 };
        offsets(grid, 2, time_step(&qwen25, fps)).iter().map(|[time, ..]| *time).collect()
    };
    assert_eq!(times(2.0), [0, 2, 4, 6, 8, 10]);
    assert_eq!(times(3.0), [0, 1, 2, 4, 5, 6]);
    assert_eq!(times(2.3), [0, 1, 3, 5, 6, 8]);

    // The text after a video continues after its time.
    let video = offsets(Grid { time: 4, height: 4, width: 4 }, 2, time_step(&qwen25, 2.0));
    let all = positions(19, &[(2, video.clone())]);
    let times: Vec<u32> = all[2..18].iter().step_by(4).map(|[time, ..]| *time).collect();
    assert_eq!((times, all[18]), (vec![2, 4, 6, 8], [9; 3]));
    assert_eq!(delta(18, [(2, &video[..])]), -9);
}
