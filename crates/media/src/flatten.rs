//! Converts decoded images to RGB of 8 bits.

use image::DynamicImage;

/// Converts an image to RGB. Transparent pixels are put on white. 16 bits are reduced to the high byte, as Pillow
/// does.
pub(crate) fn rgb_on_white(image: DynamicImage) -> Vec<u8> {
    match image {
        DynamicImage::ImageRgb8(image) => image.into_raw(),
        DynamicImage::ImageLuma8(image) => grey(image.into_raw()),
        DynamicImage::ImageLumaA8(image) => grey_alpha(image.into_raw()),
        DynamicImage::ImageRgba8(image) => rgb_alpha(image.into_raw()),
        DynamicImage::ImageLuma16(image) => grey(high_bytes(image.into_raw())),
        DynamicImage::ImageLumaA16(image) => grey_alpha(high_bytes(image.into_raw())),
        DynamicImage::ImageRgb16(image) => high_bytes(image.into_raw()),
        DynamicImage::ImageRgba16(image) => rgb_alpha(high_bytes(image.into_raw())),
        // Formats with floating-point numbers, which the supported kinds do not have.
        other => rgb_alpha(other.into_rgba8().into_raw()),
    }
}

fn high_bytes(values: Vec<u16>) -> Vec<u8> {
    values.into_iter().map(|value| (value >> 8) as u8).collect()
}

fn grey(values: Vec<u8>) -> Vec<u8> {
    values.into_iter().flat_map(|value| [value; 3]).collect()
}

fn grey_alpha(values: Vec<u8>) -> Vec<u8> {
    let (pixels, _) = values.as_chunks::<2>();
    pixels.iter().flat_map(|[value, alpha]| [on_white(*value, *alpha); 3]).collect()
}

fn rgb_alpha(values: Vec<u8>) -> Vec<u8> {
    let (pixels, _) = values.as_chunks::<4>();
    pixels
        .iter()
        .flat_map(|[red, green, blue, alpha]| {
            [red, green, blue].map(|value| on_white(*value, *alpha))
        })
        .collect()
}

/// Returns `value` with the opacity `alpha` on white, rounded as Pillow's `alpha_composite` does.
fn on_white(value: u8, alpha: u8) -> u8 {
    let (value, alpha) = (u32::from(value), u32::from(alpha));
    // Seven more bits of precision, then a division by 255 by shifts.
    let sum = (value * alpha + 255 * (255 - alpha) + 0x80) << 7;
    ((((sum >> 8) + sum) >> 8) >> 7) as u8
}

#[cfg(test)]
mod tests {
    use super::on_white;

    #[test]
    fn opacity_mixes_with_white_and_rounds() {
        for value in 0..=255 {
            assert_eq!(on_white(value, 255), value);
            assert_eq!(on_white(value, 0), 255);
            for alpha in 0..=255 {
                let exact = 255.0 + (f64::from(value) - 255.0) * f64::from(alpha) / 255.0;
                assert!((f64::from(on_white(value, alpha)) - exact).abs() <= 0.51);
            }
        }
    }
}
