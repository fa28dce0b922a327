//! Writes text models and projectors.

use std::error::Error;
use std::path::Path;

use engine::synth::{SynthOptions, SynthQuant, SynthShape, synthesize, synthesize_projector};
use engine::vision::TowerSpec;

/// A text model, and the tower whose rows it takes.
const PAIRS: [(&str, &str); 2] =
    [("qwen3-vl-0.6b", "qwen3.5-0.8b"), ("qwen3-vl-2b", "qwen3-vl-2b")];

/// Writes `TEXT-q8_0.gguf` and `mmproj-TOWER-q8_0.gguf` and `-f16.gguf` to a folder.
pub(crate) fn write(folder: &Path) -> Result<(), Box<dyn Error>> {
    std::fs::create_dir_all(folder)?;
    for (text, tower) in PAIRS {
        let shape: SynthShape = text.parse()?;
        let output = folder.join(format!("{text}-q8_0.gguf"));
        let options = SynthOptions { shape, quant: SynthQuant::Q8_0, seed: 1, output };
        synthesize(&options, |_, _| ())?;
        let spec = TowerSpec::of_name(tower, shape.hidden()).ok_or("unknown tower")?;
        for quant in [SynthQuant::Q8_0, SynthQuant::F16] {
            let path = folder.join(format!("mmproj-{tower}-{}.gguf", quant.name()));
            synthesize_projector(&spec, quant, 1, &path)?;
            println!("{}", path.display());
        }
    }
    Ok(())
}
