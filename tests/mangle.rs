//! Text that was damaged: what a fuzzer makes of a corpus. Everything follows from the seed.

use std::fs;
use std::path::Path;

use crate::random::Random;

/// A corpus in `tests/corpus/NAME`, and words that its texts are damaged with.
pub struct Mangle {
    corpus: Vec<String>,
    words: &'static [&'static str],
}

impl Mangle {
    pub fn of(name: &str, words: &'static [&'static str]) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(name);
        let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
        files.sort();
        let corpus: Vec<String> = files.iter().map(|file| fs::read_to_string(file).unwrap()).collect();
        assert!(corpus.len() > 2, "no corpus {name}");
        Self { corpus, words }
    }

    /// The corpus as it is.
    pub fn whole(&self) -> &[String] {
        &self.corpus
    }

    /// One of the texts with a few things changed in it.
    pub fn text(&self, random: &mut Random) -> String {
        let mut text = self.pick(random).clone().into_bytes();
        // Mostly one thing alone: what is damaged more is refused for the first reason.
        for _ in 0..=random.below(6).saturating_sub(3) {
            self.damage(&mut text, random);
        }
        String::from_utf8_lossy(&text).into_owned()
    }

    fn pick(&self, random: &mut Random) -> &String {
        &self.corpus[random.index(self.corpus.len())]
    }

    fn damage(&self, text: &mut Vec<u8>, random: &mut Random) {
        let at = random.index(text.len() + 1);
        let end = (at + random.index(12)).min(text.len());
        match random.below(7) {
            0 if at < text.len() => text[at] = u8::try_from(random.below(256)).unwrap(),
            1 => drop(text.drain(at..end)),
            2 => {
                let span = text[at..end].to_vec();
                drop(text.splice(at..at, span));
            }
            3 => {
                // The rest of another one.
                let other = self.pick(random).as_bytes();
                let from = random.index(other.len() + 1);
                text.truncate(at);
                text.extend(&other[from..]);
            }
            4 => {
                // Something else in place of a word of ours.
                let word = self.words[random.index(self.words.len())];
                let place = text.windows(word.len()).position(|window| window == word.as_bytes()).unwrap_or(at);
                let until = (place + word.len()).min(text.len());
                let other = self.words[random.index(self.words.len())];
                drop(text.splice(place..until, other.bytes()));
            }
            5 => {
                // A digit more or less.
                let digits: Vec<usize> = (0..text.len()).filter(|i| text[*i].is_ascii_digit()).collect();
                if !digits.is_empty() {
                    let place = digits[random.index(digits.len())];
                    let count = random.index(21);
                    drop(text.splice(place..=place, vec![b'0' + u8::try_from(random.below(10)).unwrap(); count]));
                }
            }
            _ => drop(text.splice(at..at, self.words[random.index(self.words.len())].bytes())),
        }
    }
}
