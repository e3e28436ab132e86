//! JSON as op-geth writes it: quantities without leading zeros, data in lower-case hex, objects field by field.
//!
//! A block of 2,000 receipts is megabytes of JSON; writing it straight into one buffer is several times faster than building a tree.

use alloy_primitives::{hex, U256};

/// One JSON value under construction.
#[derive(Debug, Default)]
pub struct Json {
    out: Vec<u8>,
}

impl Json {
    /// The finished bytes.
    pub fn into_bytes(self) -> Vec<u8> {
        self.out
    }

    /// Appends a finished value.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// `"0x..."` of the bytes.
    pub fn data(&mut self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        self.out.reserve(bytes.len() * 2 + 4);
        self.raw(b"\"0x");
        let start = self.out.len();
        self.out.resize(start + bytes.len() * 2, 0);
        hex::encode_to_slice(bytes, &mut self.out[start..]).expect("the slice has twice the length");
        self.out.push(b'"');
    }

    /// `"0x..."` of a number.
    pub fn quantity(&mut self, value: u64) {
        self.raw(format!("\"{value:#x}\"").as_bytes());
    }

    /// `"0x..."` of a large number.
    pub fn big(&mut self, value: U256) {
        self.raw(format!("\"{value:#x}\"").as_bytes());
    }

    /// A string, escaped.
    pub fn text(&mut self, text: &str) {
        serde_json::to_writer(&mut self.out, text).expect("writing to memory does not fail");
    }

    /// `{...}`.
    pub fn object(&mut self, fill: impl FnOnce(&mut Object<'_>)) {
        self.out.push(b'{');
        let mut object = Object { json: self, first: true };
        fill(&mut object);
        self.out.push(b'}');
    }

    /// `[...]` with one element per item.
    pub fn array<T>(&mut self, items: impl IntoIterator<Item = T>, mut each: impl FnMut(&mut Self, T)) {
        self.out.push(b'[');
        let mut first = true;
        for item in items {
            if !std::mem::take(&mut first) {
                self.out.push(b',');
            }
            each(self, item);
        }
        self.out.push(b']');
    }
}

/// The fields of an object under construction.
#[derive(Debug)]
pub struct Object<'a> {
    json: &'a mut Json,
    first: bool,
}

impl Object<'_> {
    /// Starts a field and gives the place for its value.
    pub fn key(&mut self, name: &str) -> &mut Json {
        if !std::mem::take(&mut self.first) {
            self.json.out.push(b',');
        }
        self.json.out.push(b'"');
        self.json.raw(name.as_bytes());
        self.json.raw(b"\":");
        self.json
    }

    /// Bytes.
    pub fn data(&mut self, name: &str, bytes: impl AsRef<[u8]>) {
        self.key(name).data(bytes);
    }

    /// A number.
    pub fn quantity(&mut self, name: &str, value: u64) {
        self.key(name).quantity(value);
    }

    /// A large number.
    pub fn big(&mut self, name: &str, value: U256) {
        self.key(name).big(value);
    }

    /// `null`.
    pub fn null(&mut self, name: &str) {
        self.key(name).raw(b"null");
    }

    /// Bytes or `null`.
    pub fn optional(&mut self, name: &str, bytes: Option<impl AsRef<[u8]>>) {
        match bytes {
            Some(bytes) => self.data(name, bytes),
            None => self.null(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_what_serde_json_reads() {
        let mut json = Json::default();
        json.object(|object| {
            object.quantity("zero", 0);
            object.big("big", U256::MAX);
            object.data("empty", []);
            object.null("nothing");
            object.key("list").array([1_u64, 255], |json, item| json.quantity(item));
            object.key("text").text("a \"quoted\" word");
        });
        let value: serde_json::Value = serde_json::from_slice(&json.into_bytes()).unwrap();
        assert_eq!(value["zero"], "0x0");
        assert_eq!(value["big"], format!("0x{}", "f".repeat(64)));
        assert_eq!(value["empty"], "0x");
        assert!(value["nothing"].is_null());
        assert_eq!(value["list"][1], "0xff");
        assert_eq!(value["text"], "a \"quoted\" word");
    }
}
