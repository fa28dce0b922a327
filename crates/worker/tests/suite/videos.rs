//! Tasks with videos: their answers are those of the engine alone with the same frames.

use chat::{Message, Part, Role};
use protocol::{ErrorType, Prompt, Task};

use crate::library::{Library, PIXELS, picture, seeing, store};
use crate::rig::Rig;

const TENANT: &str = "tenant";

async fn start(name: &str) -> Rig {
    let (model, projector) = seeing(name);
    Rig::start_with(model, &[("MMPROJ", projector.to_str().unwrap())]).await
}

/// Returns a chat about a video, and about an image too if there is one.
fn asking(video: &str, image: Option<&str>) -> Prompt {
    let video = Part::Video { blob: video.to_owned() };
    let text = Part::Text { text: "What?".to_owned() };
    let image = image.map(|image| Part::Image { blob: image.to_owned() });
    let parts = [video, text].into_iter().chain(image).collect();
    Prompt::Chat(vec![Message { role: Role::User, parts, name: None }])
}

fn task(rig: &Rig, prompt: Prompt) -> Task {
    Task { pixels: PIXELS, max_attempts: 3, ..rig.task(prompt, 16) }
}

/// Returns a GIF of 16 × 16 pixels, each frame of which has one color: a digit of `colors`, from 0 to 3.
pub(crate) fn gif(colors: &str) -> Vec<u8> {
    let mut file = b"GIF89a\x10\0\x10\0\x81\0\0".to_vec();
    file.extend([255, 0, 0, 0, 255, 0, 0, 0, 255, 255, 255, 255]);
    for color in colors.bytes().map(|digit| digit - b'0') {
        // It is shown for 50 hundredths of a second.
        file.extend(b"!\xf9\x04\0\x32\0\0\0,\0\0\0\0\x10\0\x10\0\0\x02");
        // Codes of 3 bits, each color behind a code that clears the table: 4, color, 4, color, …, 5.
        let codes = (0..256).flat_map(|_| [4, color]).chain([5]);
        let (mut data, mut bits, mut held) = (Vec::new(), 0_u32, 0);
        for code in codes {
            bits |= u32::from(code) << held;
            held += 3;
            while held >= 8 {
                data.push(bits as u8);
                (bits, held) = (bits >> 8, held - 8);
            }
        }
        data.push(bits as u8);
        for block in data.chunks(255) {
            file.push(block.len() as u8);
            file.extend(block);
        }
        file.push(0);
    }
    file.push(b';');
    file
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_about_videos_equal_the_librarys() {
    for name in ["qwen2vl", "qwen3vl"] {
        let rig = start(name).await;
        let library = Library::start(name);
        let image = picture("wide.png");
        let image_blob = store(&rig.broker, TENANT, &image).await;
        let mut answers = Vec::new();
        for video in [gif("0123"), gif("3210"), gif("2"), picture("animated.webp")] {
            let blob = store(&rig.broker, TENANT, &video).await;
            let frames = library.frames_of(&video);
            let prompt = asking(&blob, None);
            let (text, prompt_tokens) = library.answer_to(&prompt, vec![frames.clone()], 16);
            let completion = rig.complete(&task(&rig, prompt)).await;
            assert_eq!(completion.first.text, text, "{name}");
            assert_eq!(completion.usage.prompt_tokens, prompt_tokens, "{name}");
            answers.push((text, prompt_tokens));

            let prompt = asking(&blob, Some(&image_blob));
            let visuals = vec![frames, library.image_of(&image)];
            let (text, prompt_tokens) = library.answer_to(&prompt, visuals, 16);
            let completion = rig.complete(&task(&rig, prompt)).await;
            assert_eq!(completion.first.text, text, "{name}");
            assert_eq!(completion.usage.prompt_tokens, prompt_tokens, "{name}");
        }
        answers.dedup();
        assert_eq!(answers.len(), 4, "each video has another answer: {answers:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unusable_videos_fail_their_task_at_once() {
    let rig = start("qwen3vl").await;
    let (whole, jpeg) = (gif("01"), picture("photo.jpg"));
    let others = store(&rig.broker, "somebody else", &whole).await;
    let cut = store(&rig.broker, TENANT, &whole[..whole.len() / 2]).await;
    let text = store(&rig.broker, TENANT, b"#EXTM3U\nfile:///etc/passwd").await;
    let jpeg = store(&rig.broker, TENANT, &jpeg).await;
    for (blob, problem) in [
        (&*others, "does not exist or has expired"),
        (&cut, "cannot be decoded"),
        (&text, "supported are MP4"),
        (&jpeg, "the video is JPEG"),
        ("x", "'x' is not the id of a blob"),
    ] {
        let task = task(&rig, asking(blob, None));
        let error = rig.fail(&task).await;
        assert_eq!(error.error_type, ErrorType::InvalidRequest, "{error:?}");
        assert!(error.message.starts_with("video 1 of the prompt: "), "{error:?}");
        assert!(error.message.contains(problem), "{error:?}");
        let snapshot = rig.broker.snapshot(task.id).await.unwrap().unwrap();
        assert_eq!(snapshot.attempt.get(), 1, "{error:?}");
    }
}
