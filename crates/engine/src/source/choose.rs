//! Chooses among a repository's files by a name.

use std::collections::BTreeMap;

use crate::Quantization;
use crate::gguf::MAX_PARTS;

/// The default quantization: small, with little loss of quality.
pub const PREFERRED: &str = "Q4_K_M";

/// The result of choosing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// This file.
    File(String),
    /// A file split into parts.
    Split {
        /// The first part.
        file: String,
        /// The number of parts.
        parts: u32,
    },
    /// No file matches; these quantizations exist.
    Unknown {
        /// The quantizations, or file names if those are ambiguous.
        available: Vec<String>,
    },
    /// Several files match.
    Several {
        /// Unambiguous choices: quantizations or file names. Never empty.
        choices: Vec<String>,
    },
    /// There is no GGUF file.
    Nothing,
}

/// Quantizations of the same precision as [`PREFERRED`], best first.
const FOUR_BIT_QUANTS: [&str; 6] = ["UD-Q4_K_XL", "Q4_K_XL", "Q4_K_L", "Q4_K_S", "Q4_1", "Q4_0"];
const FIVE_BIT_QUANTS: [&str; 6] = ["Q5_K_M", "UD-Q5_K_XL", "Q5_K_L", "Q5_K_S", "Q5_1", "Q5_0"];
const SIX_BIT_QUANTS: [&str; 3] = ["Q6_K", "UD-Q6_K_XL", "Q6_K_L"];
const EIGHT_BIT_QUANTS: [&str; 3] = ["Q8_0", "UD-Q8_K_XL", "Q8_K_XL"];
const UNQUANTIZED: [&str; 3] = ["F16", "BF16", "F32"];

/// Returns whether a name ends in `.gguf`.
pub fn is_gguf(name: &str) -> bool {
    stem(name).is_some()
}

/// Returns the number of models among files: the parts of a split file count once, and projectors don't count.
pub fn count<'a>(files: impl Iterator<Item = &'a str>) -> usize {
    models(files).len()
}

/// Chooses among a repository's files (paths within it). `wanted` is a quantization or a file name,
/// case-insensitive; without it, [`PREFERRED`] or else the only file is chosen.
pub fn choose<'a>(files: impl Iterator<Item = &'a str>, wanted: Option<&str>) -> Choice {
    let models = models(files);

    if models.is_empty() {
        return Choice::Nothing;
    }

    let fitting: Vec<&String> = match wanted {
        Some(wanted) => {
            models.keys().filter(|whole| fits(whole, models[*whole].0, wanted)).collect()
        }
        None if models.len() == 1 => models.keys().collect(),
        None => models.keys().filter(|whole| fits(whole, models[*whole].0, PREFERRED)).collect(),
    };
    match fitting.as_slice() {
        [] if wanted.is_some() => Choice::Unknown { available: labels(&models, models.keys()) },
        [] => Choice::Several { choices: labels(&models, models.keys()) },
        [one] => match models[*one] {
            (file, 0 | 1) => Choice::File(file.to_owned()),
            (file, parts) => Choice::Split { file: file.to_owned(), parts },
        },
        several => Choice::Several { choices: labels(&models, several.iter().copied()) },
    }
}

/// Returns the models among files, by their paths without part numbers: the first part, and the number of parts.
fn models<'a>(files: impl Iterator<Item = &'a str>) -> BTreeMap<String, (&'a str, u32)> {
    let mut models: BTreeMap<String, (&str, u32)> = BTreeMap::new();
    for file in files {
        let Some(stem) = stem(file) else { continue };
        let base = base_name(stem).to_ascii_lowercase();
        // Projectors for images and calibration data are not models.
        if base.starts_with("mmproj") || base.contains("imatrix") {
            continue;
        }
        let (whole, parts) = split_suffix(stem);
        let entry = models.entry(whole.to_owned()).or_insert((file, parts));
        entry.0 = entry.0.min(file);
    }
    models
}

/// Returns the models among files: the quantization that the name tells, if it tells one, and the names of all parts.
pub(super) fn quantizations<'a>(
    files: impl Iterator<Item = &'a str>,
) -> Vec<(Option<String>, Vec<String>)> {
    let models = models(files).into_iter();
    let model = |(whole, (file, _)): (String, (&str, u32))| {
        (quant(&whole).map(str::to_owned), all_part_names(file))
    };
    models.map(model).collect()
}

/// Chooses the file nearest to a quantization: one of the same precision, else the next more precise one, never a
/// less precise one. Files in formats that are less precise than Q4_K (`IQ4_XS`, `IQ2_M`, …) must be named.
pub fn nearest<'a>(
    files: impl Iterator<Item = &'a str> + Clone,
    quantization: Quantization,
) -> Choice {
    let finer: &[&[&str]] = match quantization {
        Quantization::FourBit => {
            &[&FOUR_BIT_QUANTS, &FIVE_BIT_QUANTS, &SIX_BIT_QUANTS, &EIGHT_BIT_QUANTS, &UNQUANTIZED]
        }
        Quantization::EightBit => &[&EIGHT_BIT_QUANTS, &UNQUANTIZED],
        Quantization::None => &[&UNQUANTIZED],
    };
    let wanted = quantization.gguf_quant();
    let order = [wanted].into_iter().chain(finer.iter().flat_map(|quants| quants.iter().copied()));
    first_of(files.clone(), order).unwrap_or_else(|| choose(files, Some(wanted)))
}

/// Chooses [`PREFERRED`], or the only file, or one of the same precision as the preferred.
pub fn preferred<'a>(files: impl Iterator<Item = &'a str> + Clone) -> Choice {
    match choose(files.clone(), None) {
        Choice::Several { choices } => {
            first_of(files, FOUR_BIT_QUANTS.into_iter()).unwrap_or(Choice::Several { choices })
        }
        choice => choice,
    }
}

/// Returns the choice for the first of these quantizations that exists, or `None`.
fn first_of<'a, 'q>(
    files: impl Iterator<Item = &'a str> + Clone,
    mut quants: impl Iterator<Item = &'q str>,
) -> Option<Choice> {
    quants.find_map(|quant| match choose(files.clone(), Some(quant)) {
        Choice::Unknown { .. } | Choice::Nothing => None,
        choice => Some(choice),
    })
}

/// Returns whether a file, or a part of one, has a quantization.
pub fn has_quantization(file: &str, quantization: &str) -> bool {
    stem(file).is_some_and(|stem| fits(split_suffix(stem).0, file, quantization))
}

/// Returns the names of all parts of a split file, in order. `file` is any of them.
pub fn part_names(file: &str, parts: u32) -> Vec<String> {
    let Some(stem) = stem(file) else { return vec![file.to_owned()] };
    let (whole, extension) = (split_suffix(stem).0, &file[stem.len()..]);
    (1..=parts).map(|part| format!("{whole}-{part:05}-of-{parts:05}{extension}")).collect()
}

/// Returns the names of all parts of the file that `file` is a part of, in order; its own if it is a whole file.
pub fn all_part_names(file: &str) -> Vec<String> {
    match stem(file).map_or(0, |stem| split_suffix(stem).1) {
        parts @ 2..=MAX_PARTS => part_names(file, parts),
        _ => vec![file.to_owned()],
    }
}

/// Returns whether a model matches the wanted quantization or name.
fn fits(whole: &str, file: &str, wanted: &str) -> bool {
    file.eq_ignore_ascii_case(wanted)
        || base_name(file).eq_ignore_ascii_case(wanted)
        || quant(whole).is_some_and(|quant| quant.eq_ignore_ascii_case(wanted))
}

/// Returns a label for each of these models: the quantization if it is unambiguous, else the file name.
fn labels<'a>(
    models: &BTreeMap<String, (&str, u32)>,
    which: impl Iterator<Item = &'a String>,
) -> Vec<String> {
    let mut labels = Vec::new();
    for whole in which {
        let mine = quant(whole).unwrap_or_default();
        let twins = models
            .keys()
            .filter(|other| quant(other).is_some_and(|q| q.eq_ignore_ascii_case(mine)));
        labels.push(match twins.count() {
            1 => mine.to_owned(),
            _ => base_name(models[whole].0).to_owned(),
        });
    }
    labels
}

/// Returns the name without `.gguf`, or `None` if it does not end so.
fn stem(name: &str) -> Option<&str> {
    let (stem, extension) = name.rsplit_once('.')?;
    extension.eq_ignore_ascii_case("gguf").then_some(stem)
}

fn base_name(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, base)| base)
}

/// Returns the name without `-00001-of-00003`, and the number of parts; 0 for a whole file.
fn split_suffix(stem: &str) -> (&str, u32) {
    let numbers = |stem| -> Option<(&str, u32)> {
        let (rest, parts) = str::rsplit_once(stem, "-of-")?;
        let (whole, part) = rest.rsplit_once('-')?;
        part.parse::<u32>().ok()?;
        Some((whole, parts.parse().ok()?))
    };
    numbers(stem).unwrap_or((stem, 0))
}

/// Returns the quantization at the end of a name: `Q4_K_M`, `IQ4_XS`, `BF16`, `UD-Q4_K_XL`.
fn quant(whole: &str) -> Option<&str> {
    let base = base_name(whole);
    let at = base.rfind(['-', '.']).map_or(0, |at| at + 1);
    let last = base[at..].to_ascii_uppercase();
    let number_after = |prefix: &str| {
        last.strip_prefix(prefix).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    let known = ["Q", "IQ", "TQ", "MXFP", "NVFP", "BF", "F", "FP"].into_iter().any(number_after);
    if !known {
        return None;
    }
    match base[..at]
        .len()
        .checked_sub("UD-".len())
        .and_then(|from| Some((from, base.get(from..at)?)))
    {
        Some((from, prefix)) if prefix.eq_ignore_ascii_case("UD-") => Some(&base[from..]),
        _ => Some(&base[at..]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QWEN: [&str; 6] = [
        "README.md",
        "Qwen3-4B-Q4_K_M.gguf",
        "Qwen3-4B-Q8_0.gguf",
        "Qwen3-4B-UD-Q4_K_XL.gguf",
        "mmproj-Qwen3-4B-F16.gguf",
        "BF16/Qwen3-4B-BF16-00001-of-00002.gguf",
    ];

    fn pick(files: &[&str], wanted: Option<&str>) -> Choice {
        choose(files.iter().copied(), wanted)
    }

    fn file(name: &str) -> Choice {
        Choice::File(name.into())
    }

    #[test]
    fn files_are_picked_by_quantization_case_insensitively() {
        assert_eq!(pick(&QWEN, Some("q8_0")), file("Qwen3-4B-Q8_0.gguf"));
        assert_eq!(pick(&QWEN, Some("ud-q4_k_xl")), file("Qwen3-4B-UD-Q4_K_XL.gguf"));
        assert_eq!(pick(&QWEN, Some("qwen3-4b-q8_0.GGUF")), file("Qwen3-4B-Q8_0.gguf"));
        assert_eq!(pick(&["a.q4_0.gguf", "a.q4_1.gguf"], Some("Q4_0")), file("a.q4_0.gguf"));
        assert_eq!(pick(&["q/Q5_0.gguf"], Some("Q5_0")), file("q/Q5_0.gguf"));
        let available = ["BF16", "Q4_K_M", "Q8_0", "UD-Q4_K_XL"].map(String::from).to_vec();
        assert_eq!(pick(&QWEN, Some("Q2_K")), Choice::Unknown { available });
    }

    #[test]
    fn default_pick_is_the_preferred_quantization_or_the_only_file() {
        assert_eq!(pick(&QWEN, None), file("Qwen3-4B-Q4_K_M.gguf"));
        assert_eq!(pick(&["model.gguf", "x.json"], None), file("model.gguf"));
        let choices = vec!["Q5_0".to_owned(), "Q8_0".to_owned()];
        assert_eq!(pick(&["m-Q5_0.gguf", "m-Q8_0.gguf"], None), Choice::Several { choices });
        assert_eq!(pick(&["model.safetensors", "mmproj-F16.gguf"], None), Choice::Nothing);
    }

    #[test]
    fn nearest_finer_quantization_replaces_a_missing_one() {
        use Quantization::{EightBit, FourBit, None};
        let nearest = |files: &[&str], quantization| nearest(files.iter().copied(), quantization);
        let unsloth = ["m-UD-Q4_K_XL.gguf", "m-Q8_0.gguf", "m-BF16.gguf", "mmproj-F16.gguf"];
        assert_eq!(nearest(&unsloth, FourBit), file("m-UD-Q4_K_XL.gguf"));
        assert_eq!(nearest(&unsloth, EightBit), file("m-Q8_0.gguf"));
        assert_eq!(nearest(&unsloth, None), file("m-BF16.gguf"));
        assert_eq!(preferred(unsloth.iter().copied()), file("m-UD-Q4_K_XL.gguf"));
        assert_eq!(nearest(&QWEN, FourBit), file("Qwen3-4B-Q4_K_M.gguf"));
        let others = ["m-Q3_K_M.gguf", "m-Q5_0.gguf", "m-IQ4_XS.gguf", "m-F32.gguf"];
        assert_eq!(nearest(&others, FourBit), file("m-Q5_0.gguf"));
        assert_eq!(nearest(&others, EightBit), file("m-F32.gguf"));
        assert_eq!(nearest(&["m-Q8_0.gguf", "m-BF16.gguf"], FourBit), file("m-Q8_0.gguf"));
        for (coarser, quantization) in [
            (["m-IQ4_XS.gguf", "m-Q3_K_M.gguf"], FourBit),
            (["m-Q6_K.gguf", "m-Q4_K_M.gguf"], EightBit),
            (["m-Q8_0.gguf", "m-Q4_K_M.gguf"], None),
        ] {
            assert!(matches!(nearest(&coarser, quantization), Choice::Unknown { .. }));
        }
        assert_eq!(nearest(&["a.safetensors"], FourBit), Choice::Nothing);
        let split = "BF16/Qwen3-4B-BF16-00001-of-00002.gguf".to_owned();
        assert_eq!(nearest(&QWEN, None), Choice::Split { file: split, parts: 2 });
        let twins = ["a-Q8_0.gguf", "b-Q8_0.gguf", "a-Q2_K.gguf"];
        assert!(matches!(nearest(&twins, EightBit), Choice::Several { .. }));
        // By default nothing less or more precise than the preferred one is chosen.
        let finer = ["m-Q5_0.gguf", "m-Q8_0.gguf"];
        assert!(matches!(preferred(finer.iter().copied()), Choice::Several { .. }));
        assert!(
            has_quantization("m-UD-Q4_K_XL.gguf", "ud-q4_k_xl")
                && !has_quantization("m-UD-Q4_K_XL.gguf", "Q4_K_M")
        );
    }

    #[test]
    fn part_names_of_split_files_are_derived() {
        let names =
            ["q/m-00001-of-00003.GGUF", "q/m-00002-of-00003.GGUF", "q/m-00003-of-00003.GGUF"];
        assert_eq!(part_names(names[1], 3), names);
        assert_eq!(part_names("x.txt", 3), ["x.txt"]);
    }

    #[test]
    fn ambiguous_quantizations_list_the_file_names() {
        let files = ["a-Q4_K_M.gguf", "b-Q4_K_M.gguf"];
        let choices: Vec<String> = files.map(String::from).to_vec();
        assert_eq!(pick(&files, None), Choice::Several { choices: choices.clone() });
        assert_eq!(pick(&files, Some("q4_k_m")), Choice::Several { choices });
        assert_eq!(pick(&files, Some("b-Q4_K_M.gguf")), file("b-Q4_K_M.gguf"));
    }

    #[test]
    fn split_files_count_as_one_choice() {
        let first = "BF16/Qwen3-4B-BF16-00001-of-00002.gguf";
        let split = Choice::Split { file: first.into(), parts: 2 };
        assert_eq!(pick(&["BF16/Qwen3-4B-BF16-00002-of-00002.gguf", first], Some("bf16")), split);
        assert_eq!(pick(&["m-F16-00001-of-00001.gguf"], None), file("m-F16-00001-of-00001.gguf"));
    }

    #[test]
    fn unusual_file_names_do_not_panic() {
        for name in ["", ".gguf", "-.gguf", "é-of-1.gguf", "ü-q4.gguf", "-1-of-.gguf", "ud-é.gguf"]
        {
            let _ = pick(&[name, "b.gguf"], Some("q4"));
            let _ = pick(&[name], None);
        }
    }
}
