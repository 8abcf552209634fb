//! Files of settings, the clock and chance; and the folders that these tests work in.

use mlflow_oidc::edge::settings::{read, read_bundle};
use mlflow_oidc::edge::system::{SystemClock, SystemEntropy};
use mlflow_oidc::ports::{Clock, Entropy};
use std::path::PathBuf;

/// An empty folder, removed at the end.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new(name: &str) -> Self {
        let path =
            PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("edge-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_mounted_file_is_read_without_the_line_break_at_its_end() {
    let folder = Folder::new("mounted");
    for (content, value) in
        [("secret\n", "secret"), ("secret\r\n", "secret"), (" a b \n\n", "a b"), ("", ""), ("ü", "ü")]
    {
        std::fs::write(folder.path("f"), content).unwrap();
        assert_eq!(read(&folder.path("f")), Ok(value.to_owned()), "{content:?}");
    }
}

#[test]
fn a_file_that_is_too_large_or_not_there_or_not_text_is_told_in_words() {
    const LIMIT: usize = 1024 * 1024;
    let folder = Folder::new("limits");
    std::fs::write(folder.path("fits"), "x".repeat(LIMIT)).unwrap();
    assert_eq!(read(&folder.path("fits")).unwrap().len(), LIMIT);
    std::fs::write(folder.path("large"), "x".repeat(LIMIT + 1)).unwrap();
    assert!(read(&folder.path("large")).unwrap_err().contains(&format!("more than {LIMIT}")));
    std::fs::write(folder.path("binary"), b"secret\xFF\xFE").unwrap();
    let binary = read(&folder.path("binary")).unwrap_err();
    assert!(!binary.contains("secret") && !binary.is_empty(), "{binary}");
    assert!(read(&folder.path("missing")).unwrap_err().contains("not found"));
    assert!(read(&folder.path("")).is_err(), "a folder");
}

#[test]
fn a_file_that_does_not_tell_its_size_is_bounded_all_the_same() {
    // Files of the kernel say that they have no bytes (and a device may go on for ever). This one has some hundred bytes
    // for every thread.
    let maps = std::path::Path::new("/proc/self/smaps");
    let barrier = std::sync::Barrier::new(641);
    std::thread::scope(|scope| {
        for _ in 0..640 {
            scope.spawn(|| barrier.wait());
        }
        let tells_nothing = std::fs::metadata(maps).is_ok_and(|data| data.len() == 0);
        let result = read(maps);
        barrier.wait();
        if tells_nothing {
            let size = result.as_ref().map(String::len);
            assert!(size.is_err(), "{size:?} bytes were read");
        }
    });
}

#[test]
fn a_bundle_is_read_as_it_is() {
    let folder = Folder::new("bundle");
    std::fs::write(folder.path("ca.pem"), b"-----BEGIN\n\xFF").unwrap();
    assert_eq!(read_bundle(folder.path("ca.pem").to_str().unwrap()).unwrap(), b"-----BEGIN\n\xFF");
    assert!(read_bundle(folder.path("missing").to_str().unwrap()).is_err());
}

#[test]
fn the_clock_is_the_wall_clock_and_chance_is_chance() {
    let wall = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as i64;
    assert!((SystemClock.now() - wall).abs() <= 1);
    let mut draws: Vec<[u8; 32]> = vec![[0; 32]; 100];
    draws.iter_mut().for_each(|draw| SystemEntropy.fill(draw).unwrap());
    draws.sort_unstable();
    draws.dedup();
    assert_eq!(draws.len(), 100);
    SystemEntropy.fill(&mut []).unwrap();
}
