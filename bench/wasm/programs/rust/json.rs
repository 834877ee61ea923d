// A JSON parser and printer: parse, change, print, parse again.
use std::collections::BTreeMap;
use std::fmt::Write;

#[derive(Clone, PartialEq)]
enum Value {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    List(Vec<Value>),
    Map(BTreeMap<String, Value>),
}

struct Parser<'a> {
    s: &'a [u8],
    at: usize,
}

impl<'a> Parser<'a> {
    fn space(&mut self) {
        while self.at < self.s.len() && matches!(self.s[self.at], b' ' | b'\n' | b'\t' | b'\r') {
            self.at += 1
        }
    }
    fn expect(&mut self, b: u8) {
        self.space();
        assert_eq!(self.s[self.at], b);
        self.at += 1
    }
    fn literal(&mut self, word: &str, v: Value) -> Value {
        assert!(self.s[self.at..].starts_with(word.as_bytes()));
        self.at += word.len();
        v
    }
    fn text(&mut self) -> String {
        self.expect(b'"');
        let mut out = Vec::new();
        loop {
            match self.s[self.at] {
                b'"' => break,
                b'\\' => {
                    self.at += 1;
                    out.push(match self.s[self.at] {
                        b'n' => b'\n',
                        other => other,
                    })
                }
                b => out.push(b),
            }
            self.at += 1
        }
        self.at += 1;
        String::from_utf8(out).unwrap()
    }
    fn value(&mut self) -> Value {
        self.space();
        match self.s[self.at] {
            b'n' => self.literal("null", Value::Null),
            b't' => self.literal("true", Value::Bool(true)),
            b'f' => self.literal("false", Value::Bool(false)),
            b'"' => Value::Text(self.text()),
            b'[' => {
                self.at += 1;
                let mut list = Vec::new();
                loop {
                    list.push(self.value());
                    self.space();
                    self.at += 1;
                    if self.s[self.at - 1] == b']' {
                        return Value::List(list);
                    }
                }
            }
            b'{' => {
                self.at += 1;
                let mut map = BTreeMap::new();
                loop {
                    let key = self.text();
                    self.expect(b':');
                    map.insert(key, self.value());
                    self.space();
                    self.at += 1;
                    if self.s[self.at - 1] == b'}' {
                        return Value::Map(map);
                    }
                    self.space()
                }
            }
            _ => {
                let from = self.at;
                while matches!(self.s[self.at], b'0'..=b'9' | b'-' | b'.') {
                    self.at += 1
                }
                Value::Number(std::str::from_utf8(&self.s[from..self.at]).unwrap().parse().unwrap())
            }
        }
    }
}

fn print(v: &Value, out: &mut String) {
    match v {
        Value::Null => out.push_str("null"),
        Value::Bool(b) => write!(out, "{}", b).unwrap(),
        Value::Number(n) => write!(out, "{}", n).unwrap(),
        Value::Text(s) => {
            out.push('"');
            for c in s.chars() {
                match c {
                    '\n' => out.push_str("\\n"),
                    '"' | '\\' => {
                        out.push('\\');
                        out.push(c)
                    }
                    c => out.push(c),
                }
            }
            out.push('"')
        }
        Value::List(list) => {
            for (i, v) in list.iter().enumerate() {
                out.push(if i == 0 { '[' } else { ',' });
                print(v, out)
            }
            out.push(']')
        }
        Value::Map(map) => {
            for (i, (k, v)) in map.iter().enumerate() {
                out.push(if i == 0 { '{' } else { ',' });
                write!(out, "\"{}\":", k).unwrap();
                print(v, out)
            }
            out.push('}')
        }
    }
}

fn document() -> Value {
    let ships = (0..4000).map(|i| {
        let mut m = BTreeMap::new();
        m.insert("id".into(), Value::Number(i as f64));
        m.insert("name".into(), Value::Text(format!("dhow \"{}\"\nof the fleet", i * 7919 % 4001)));
        m.insert("load".into(), Value::List((0..6).map(|j| Value::Number((i * j) as f64 / 4.0)).collect()));
        m.insert("sails".into(), Value::Bool(i % 3 == 0));
        m.insert("captain".into(), Value::Null);
        Value::Map(m)
    });
    Value::List(ships.collect())
}

fn main() {
    let first = document();
    let mut text = String::new();
    print(&first, &mut text);
    for _ in 0..12 {
        let v = Parser { s: text.as_bytes(), at: 0 }.value();
        assert!(v == first);
        text.clear();
        print(&v, &mut text)
    }
    let sum = text.bytes().fold(0u32, |h, b| h.wrapping_mul(31).wrapping_add(b as u32));
    println!("{} bytes, {}", text.len(), sum)
}
