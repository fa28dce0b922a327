//! Resizes images by bicubic interpolation with antialiasing, to the same bytes as torchvision.
//!
//! First rows are resized, then columns, with bytes between. Weights have 16 bits. The method is that of
//! `compute_index_ranges_int16_weights` in PyTorch (`aten/src/ATen/native/cpu/UpSampleKernel.cpp`).

use rayon::prelude::*;

use media::Image;

/// The bytes of a pixel.
const CHANNELS: usize = 3;

/// The weights of an axis.
struct Axis {
    /// For each output, the first input and the number of inputs.
    spans: Vec<(usize, usize)>,
    /// For each output, the weights of its inputs, padded to `len`.
    weights: Vec<i32>,
    len: usize,
    /// The weights are multiplied by two to the power of this.
    precision: u32,
}

/// Resizes an image.
pub fn resize(image: &Image, width: u32, height: u32) -> Image {
    let mut rgb = Vec::new();
    let mut source = &image.rgb;
    if width != image.width && !source.is_empty() {
        let axis = Axis::new(image.width as usize, width as usize);
        rgb = resize_rows(source, image.width as usize, &axis);
        source = &rgb;
    }
    if height != image.height && !source.is_empty() {
        let axis = Axis::new(image.height as usize, height as usize);
        rgb = resize_columns(source, width as usize * CHANNELS, &axis);
    } else if rgb.is_empty() {
        rgb = source.clone();
    }
    Image { width, height, rgb }
}

/// Keys' cubic kernel with a = -0.5.
fn cubic(x: f64) -> f64 {
    const A: f64 = -0.5;
    let x = x.abs();
    if x < 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * A
    } else {
        0.0
    }
}

impl Axis {
    fn new(inputs: usize, outputs: usize) -> Self {
        let scale = inputs as f64 / outputs as f64;
        // The kernel is widened when the image is reduced.
        let widening = scale.max(1.0);
        let support = 2.0 * widening;
        let len = support.ceil() as usize * 2 + 1;
        let mut spans = Vec::with_capacity(outputs);
        let mut exact = vec![0.0; outputs * len];
        for (output, weights) in exact.chunks_exact_mut(len).enumerate() {
            let center = scale * (output as f64 + 0.5);
            let first = ((center - support + 0.5) as i64).max(0) as usize;
            let end = ((center + support + 0.5) as i64).clamp(0, inputs as i64) as usize;
            let count = end.saturating_sub(first).min(len);
            let mut sum = 0.0;
            for (at, weight) in weights[..count].iter_mut().enumerate() {
                *weight = cubic(((at + first) as f64 - center + 0.5) * (1.0 / widening));
                sum += *weight;
            }
            if sum != 0.0 {
                weights[..count].iter_mut().for_each(|weight| *weight /= sum);
            }
            spans.push((first, count));
        }
        let largest = exact.iter().copied().fold(0.0, f64::max);
        let fits = |precision: u32| 0.5 + largest * f64::from(1u32 << (precision + 1)) < 32_768.0;
        let precision = (0..22).find(|precision| !fits(*precision)).unwrap_or(22);
        let unit = f64::from(1u32 << precision);
        let weights = exact.iter().map(|weight| (weight * unit + 0.5f64.copysign(*weight)) as i32);
        Self { spans, weights: weights.collect(), len, precision }
    }

    /// Returns the weights of an output and its inputs.
    fn of(&self, output: usize) -> (usize, &[i32]) {
        let (first, count) = self.spans[output];
        (first, &self.weights[output * self.len..][..count])
    }

    fn half(&self) -> i32 {
        1 << (self.precision.max(1) - 1)
    }

    fn byte(&self, sum: i32) -> u8 {
        (sum >> self.precision).clamp(0, 255) as u8
    }
}

/// Resizes each row of an image with rows of `width` pixels.
fn resize_rows(source: &[u8], width: usize, axis: &Axis) -> Vec<u8> {
    let outputs = axis.spans.len();
    let rows = source.len() / (width * CHANNELS);
    let mut out = vec![0; rows * outputs * CHANNELS];
    let source = source.par_chunks_exact(width * CHANNELS);
    out.par_chunks_exact_mut(outputs * CHANNELS).zip(source).for_each(|(out, source)| {
        let (source, _) = source.as_chunks::<CHANNELS>();
        let (out, _) = out.as_chunks_mut::<CHANNELS>();
        for (output, pixel) in out.iter_mut().enumerate() {
            let (first, weights) = axis.of(output);
            let mut sums = [axis.half(); CHANNELS];
            for (source, weight) in source[first..].iter().zip(weights) {
                for (sum, byte) in sums.iter_mut().zip(source) {
                    *sum += i32::from(*byte) * weight;
                }
            }
            *pixel = sums.map(|sum| axis.byte(sum));
        }
    });
    out
}

/// Resizes the columns of an image with rows of `row` bytes.
fn resize_columns(source: &[u8], row: usize, axis: &Axis) -> Vec<u8> {
    let mut out = vec![0; axis.spans.len() * row];
    out.par_chunks_exact_mut(row).enumerate().for_each_init(
        || vec![0; row],
        |sums, (output, out)| {
            let (first, weights) = axis.of(output);
            sums.fill(axis.half());
            for (source, weight) in source[first * row..].chunks_exact(row).zip(weights) {
                for (sum, byte) in sums.iter_mut().zip(source) {
                    *sum += i32::from(*byte) * weight;
                }
            }
            for (byte, sum) in out.iter_mut().zip(&*sums) {
                *byte = axis.byte(*sum);
            }
        },
    );
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_color_stays_one_color_at_any_size() {
        let image = Image { width: 7, height: 5, rgb: [200, 3, 255].repeat(35) };
        for (width, height) in [(1, 1), (7, 5), (3, 50), (64, 2)] {
            let resized = resize(&image, width, height);
            assert_eq!(resized.rgb, [200, 3, 255].repeat((width * height) as usize));
        }
    }
}
