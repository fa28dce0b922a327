//! Replaces each pad token of a prompt by as many as its image or video has rows.
//!
//! A chat template writes `<|vision_start|><|image_pad|><|vision_end|>` for an image, with one pad.

/// The tokens that stand for images and videos, from the vocabulary or the config.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VisionTokens {
    /// `<|image_pad|>`
    pub image: u32,
    /// `<|video_pad|>`
    pub video: u32,
    /// `<|vision_start|>`
    pub start: u32,
    /// `<|vision_end|>`
    pub end: u32,
}

/// What replaces a pad token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Media {
    /// The rows of an image.
    Image(usize),
    /// The rows of a video without timestamps (Qwen2-VL, Qwen2.5-VL).
    Video(usize),
    /// A video of Qwen3-VL and later: each pair of frames follows the tokens of its time.
    Timed(Vec<TimedFrames>),
}

/// A pair of frames of a video.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimedFrames {
    /// The tokens of [`timestamp`].
    pub time: Vec<u32>,
    /// The rows of the pair.
    pub rows: usize,
}

/// A prompt with one pad token for each row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expanded {
    /// The tokens.
    pub tokens: Vec<u32>,
    /// The index of the first pad of each image, each video without timestamps and each pair of frames, in order.
    pub starts: Vec<usize>,
}

/// The reason why images and videos do not fit a prompt.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExpandError {
    /// The prompt has another number of pads than there are images and videos.
    #[error(
        "the prompt has {pads} tokens for images and videos, the request has {media} images and videos; \
         there must be one token for each"
    )]
    WrongCount {
        /// Pads in the prompt.
        pads: usize,
        /// Images and videos of the request.
        media: usize,
    },
    /// A pad for an image stands for a video, or the reverse.
    #[error(
        "item {index} of the request is {is}, but the prompt has the token of {expected} in its place"
    )]
    WrongKind {
        /// Its index among the images and videos.
        index: usize,
        /// Its kind.
        is: &'static str,
        /// The kind of the token.
        expected: &'static str,
    },
}

/// Replaces the pads of a prompt in order.
///
/// # Errors
/// If the numbers or the kinds of pads and media differ.
pub fn expand(
    tokens: &[u32],
    media: &[Media],
    vision: VisionTokens,
) -> Result<Expanded, ExpandError> {
    let is_pad = |token: &u32| *token == vision.image || *token == vision.video;
    let pads = tokens.iter().filter(|token| is_pad(token)).count();
    if pads != media.len() {
        return Err(ExpandError::WrongCount { pads, media: media.len() });
    }
    let mut expanded = Expanded::default();
    let place = |expanded: &mut Expanded, pad: u32, rows: usize| {
        expanded.starts.push(expanded.tokens.len());
        expanded.tokens.extend(std::iter::repeat_n(pad, rows));
    };
    let mut remaining = media.iter().enumerate();
    for token in tokens {
        let next = if is_pad(token) { remaining.next() } else { None };
        let Some((index, item)) = next else {
            expanded.tokens.push(*token);
            continue;
        };
        match (item, *token == vision.image) {
            (Media::Image(rows), true) => place(&mut expanded, vision.image, *rows),
            (Media::Video(rows), false) => place(&mut expanded, vision.video, *rows),
            (Media::Timed(pairs), false) => {
                for TimedFrames { time, rows } in pairs {
                    expanded.tokens.extend(time);
                    expanded.tokens.push(vision.start);
                    place(&mut expanded, vision.video, *rows);
                    expanded.tokens.push(vision.end);
                }
            }
            (Media::Image(_), false) => {
                return Err(ExpandError::WrongKind { index, is: "an image", expected: "a video" });
            }
            (Media::Video(_) | Media::Timed(_), true) => {
                return Err(ExpandError::WrongKind { index, is: "a video", expected: "an image" });
            }
        }
    }
    Ok(expanded)
}

/// Returns the text before a pair of frames of Qwen3-VL: the mean of their times in seconds.
pub fn timestamp(first: f64, last: f64) -> String {
    format!("<{:.1} seconds>", (first + last) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const VISION: VisionTokens = VisionTokens { image: 1, video: 2, start: 3, end: 4 };

    #[test]
    fn pads_are_replaced_in_order() {
        let timed = |time: u32| TimedFrames { time: vec![time, time + 1], rows: 2 };
        let media = [Media::Image(3), Media::Timed(vec![timed(60), timed(70)]), Media::Video(1)];
        let expanded = expand(&[9, 3, 1, 4, 8, 3, 2, 4, 3, 2, 4, 7], &media, VISION).unwrap();
        let tokens =
            [9, 3, 1, 1, 1, 4, 8, 3, 60, 61, 3, 2, 2, 4, 70, 71, 3, 2, 2, 4, 4, 3, 2, 4, 7];
        assert_eq!(expanded.tokens, tokens);
        assert_eq!(expanded.starts, [2, 11, 17, 22]);
    }

    #[test]
    fn wrong_pads_are_refused() {
        let count = |tokens: &[u32]| expand(tokens, &[Media::Image(2)], VISION).unwrap_err();
        assert_eq!(count(&[5, 6]), ExpandError::WrongCount { pads: 0, media: 1 });
        assert_eq!(count(&[1, 1]), ExpandError::WrongCount { pads: 2, media: 1 });
        assert!(matches!(count(&[2]), ExpandError::WrongKind { index: 0, .. }));
        assert!(expand(&[1], &[Media::Video(2)], VISION).is_err());
    }

    #[test]
    fn timestamps_round_halves_of_the_number_to_even() {
        // 0.25 and 0.75 are exact in binary.
        let at = |seconds: f64| timestamp(seconds, seconds);
        assert_eq!(
            [at(0.25), at(0.75), at(2.7)],
            ["<0.2 seconds>", "<0.8 seconds>", "<2.7 seconds>"]
        );
        assert_eq!(timestamp(0.0, 16.0 / 24.0), "<0.3 seconds>");
    }
}
