use super::super::NumbersOnly;
use super::*;
use serde_json::json;

impl SampleFormat {
    fn numbers(&self, value: &Value) -> Result<Samples, String> {
        self.read("inputs", value, &mut NumbersOnly)
    }

    fn each(&self, value: &Value) -> Result<Samples, String> {
        self.read_batch("inputs", value, &mut NumbersOnly)
    }

    fn elements(&self, bytes: Bytes) -> Result<Samples, String> {
        self.read_bytes("inputs", bytes, &mut NumbersOnly)
    }
}

fn format(inputs: &[(&str, DataType, &[i64])]) -> SampleFormat {
    // A negative dimension is of any size; the first counts samples.
    let dim = |&n: &i64| match n {
        0.. => Dim::Fixed(n),
        _ => Dim::Unknown,
    };
    let infos: Vec<ValueInfo> = inputs
        .iter()
        .map(|(name, dtype, dims)| ValueInfo {
            name: (*name).into(),
            dtype: *dtype,
            dims: std::iter::once(Dim::Unknown)
                .chain(dims.iter().map(dim))
                .collect(),
        })
        .collect();
    SampleFormat::new(&infos, true)
}

fn shapes(samples: &Samples) -> Vec<Vec<&[usize]>> {
    samples
        .samples
        .iter()
        .map(|sample| sample.iter().map(HostTensor::shape).collect())
        .collect()
}

#[test]
fn a_batch_has_one_array_more_than_a_sample() {
    let row = format(&[("x", DataType::Float, &[-1])]);
    let one = row.numbers(&json!([1, 2, 3])).unwrap();
    assert!(!one.is_batch);
    assert_eq!(one.samples[0][0].to_json(), json!([1.0, 2.0, 3.0]));
    let two = row.numbers(&json!([[1, 2], [3, 4, 5]])).unwrap();
    assert!(two.is_batch);
    assert_eq!(shapes(&two), [[&[2][..]], [&[3][..]]]);
    let image = format(&[("x", DataType::Float, &[1, 2, 2])]);
    assert!(!image.numbers(&json!([[[1, 2], [3, 4]]])).unwrap().is_batch);
    assert!(
        image
            .numbers(&json!([[[[1, 2], [3, 4]]]]))
            .unwrap()
            .is_batch
    );
    let number = format(&[("x", DataType::Float, &[])]);
    assert!(!number.numbers(&json!(0.5)).unwrap().is_batch);
    assert!(number.numbers(&json!([0.5])).unwrap().is_batch);
}

#[test]
fn bytes_are_a_sample_where_their_number_fits() {
    let bytes = |count: usize| Bytes::from(vec![0u8; count]);
    let image = format(&[("x", DataType::Float, &[3, -1, 2])]);
    let one = image.elements(bytes(3 * 5 * 2 * 4)).unwrap();
    assert!(!one.is_batch);
    assert_eq!(shapes(&one), [[&[3, 5, 2][..]]]);
    for count in [0, 1, 23, 25] {
        let error = image.elements(bytes(count)).unwrap_err();
        assert!(error.contains("shape [3, any, 2] of float32"), "{error}");
    }
    let fixed = format(&[("x", DataType::Uint8, &[4])]);
    assert!(fixed.elements(bytes(4)).is_ok());
    assert!(fixed.elements(bytes(8)).is_err());
    let free = format(&[("x", DataType::Uint8, &[-1, -1])]);
    assert!(free.elements(bytes(4)).is_err());
    let none = format(&[("x", DataType::Uint8, &[0, -1])]);
    assert!(none.elements(bytes(4)).is_err());
    let two = format(&[("a", DataType::Uint8, &[1]), ("b", DataType::Uint8, &[1])]);
    let error = two.elements(bytes(2)).unwrap_err();
    assert!(error.contains("an object with a"), "{error}");
}

#[test]
fn inputs_are_named_alone_and_in_batches() {
    let text = format(&[
        ("ids", DataType::Int64, &[-1]),
        ("mask", DataType::Bool, &[-1]),
    ]);
    let one = json!({"ids": [5, 6], "mask": [true, 0]});
    let read = text.numbers(&one).unwrap();
    assert!(!read.is_batch);
    assert_eq!(read.samples[0][1].to_json(), json!([true, false]));
    for batch in [
        json!([one, one]),
        json!({"ids": [[5, 6], [5, 6]], "mask": [[1, 0], [1, 0]]}),
    ] {
        let read = text.numbers(&batch).unwrap();
        assert!(read.is_batch);
        assert_eq!(read.samples.len(), 2);
        assert_eq!(read.samples[1][0].to_json(), json!([5, 6]));
    }
    let problem = |value: Value| text.numbers(&value).unwrap_err();
    assert_eq!(
        problem(json!({"ids": [1]})),
        "inputs.mask is missing: expected an array of shape [any] of bool"
    );
    assert!(
        problem(json!([1, 2]))
            .contains("expected an object with ids: int64 [?]; mask: bool [?], got an array of 2")
    );
    assert!(problem(json!({"ids": [1], "mask": [1], "more": 1})).contains("\"more\" is no input"));
    assert!(
        problem(json!({"ids": [[1], [2]], "mask": [[1]]}))
            .contains("inputs.mask: expected an array of 2")
    );
}

#[test]
fn inputs_with_defaults_may_be_left_out() {
    let input = |name: &str| ValueInfo {
        name: name.into(),
        dtype: DataType::Int64,
        dims: ["b", "l"].map(|d| Dim::Symbol(d.into())).to_vec(),
    };
    let text =
        SampleFormat::new(&[input("ids"), input("mask")], true).with_defaults(&[None, Some(1.0)]);
    for (value, is_batch) in [
        (json!([5, 6]), false),
        (json!({"ids": [5, 6]}), false),
        (json!([[5, 6]]), true),
        (json!([{"ids": [5, 6]}]), true),
        (json!({"ids": [[5, 6]]}), true),
    ] {
        let read = text.numbers(&value).unwrap();
        assert_eq!(read.is_batch, is_batch, "{value}");
        let sample: Vec<Value> = read.samples[0].iter().map(HostTensor::to_json).collect();
        assert_eq!(sample, [json!([5, 6]), json!([1, 1])], "{value}");
    }
    let read = text
        .numbers(&json!({"ids": [5, 6], "mask": [1, 0]}))
        .unwrap();
    assert_eq!(read.samples[0][1].to_json(), json!([1, 0]));
    let error = text.numbers(&json!({"mask": [1]})).unwrap_err();
    assert!(error.contains("inputs.ids is missing"), "{error}");
    let error = text.numbers(&json!({"mask": [[1], [1]]})).unwrap_err();
    assert!(error.contains("inputs.ids[0] is missing"), "{error}");
}

#[test]
fn bytes_are_tensors_too() {
    let row = format(&[("x", DataType::Float, &[2])]);
    // python3: base64.b64encode(struct.pack('<2f', 1.0, -2.5))
    let tensor = json!({"dtype": "float32", "shape": [2], "data": "AACAPwAAIMA="});
    let one = row.numbers(&tensor).unwrap();
    assert_eq!(one.samples[0][0].to_json(), json!([1.0, -2.5]));
    assert!(row.numbers(&json!([tensor, tensor])).unwrap().is_batch);
    for (member, value, problem) in [
        ("dtype", json!("int64"), "got int64 of shape [2]"),
        ("shape", json!([3]), "got float32 of shape [3]"),
        ("shape", json!([-1]), "\"shape\""),
        ("data", json!("AACAPw=="), "takes 8 bytes, 4 were given"),
        ("data", json!("%"), "inputs.data"),
        ("more", json!(1), "inputs.more"),
    ] {
        let mut wrong = tensor.clone();
        wrong[member] = value;
        let error = row.numbers(&wrong).unwrap_err();
        assert!(error.contains(problem), "{error}");
    }
}

#[test]
fn mistakes_say_where_and_what_was_expected() {
    let row = format(&[("x", DataType::Float, &[3])]);
    let problem = |value: Value| row.numbers(&value).unwrap_err();
    assert_eq!(
        problem(json!([1, 2])),
        "inputs: expected an array of shape [3] of float32, got one of shape [2]"
    );
    assert_eq!(
        problem(json!([1, 2, "a"])),
        "inputs[2]: expected a number of type float32, got a string"
    );
    assert_eq!(
        problem(json!([1, 2, [3]])),
        "inputs[2]: expected a number of type float32, got an array"
    );
    assert_eq!(
        problem(json!([[1, 2, 3], [1, 2]])),
        "inputs[1]: expected an array of shape [3] of float32, got one of shape [2]"
    );
    assert_eq!(
        problem(json!("text")),
        "inputs: expected an array of shape [3] of float32, got a string; it takes numbers only"
    );
    assert_eq!(
        problem(json!([1, 2, 1e39])),
        "inputs[2]: expected a number of type float32, got 1e+39"
    );
    assert!(problem(json!([])).contains("got one of shape [0]"));
    let any = format(&[("x", DataType::Int8, &[-1])]);
    let problem = |value: Value| any.numbers(&value).unwrap_err();
    assert!(problem(json!([])).contains("got an empty array"));
    assert!(problem(json!([128])).contains("number of type int8, got 128"));
    assert!(problem(json!([1.5])).contains("got 1.5"));
    assert!(any.numbers(&json!([-128, 4.0])).is_ok());
    assert_eq!(
        any.each(&json!([[1], 2])).unwrap_err(),
        "inputs[1]: expected an array of shape [any] of int8, got 2"
    );
    let many = vec![vec![1]; MOST_SAMPLES + 1];
    assert_eq!(
        problem(json!(many)),
        "inputs: expected at most 4096 inputs, got 4097"
    );
    assert!(
        any.each(&json!(1))
            .unwrap_err()
            .contains("an array of inputs")
    );
}

#[test]
fn what_json_has_no_number_for_is_null() {
    let tensor = HostTensor::from_f32(vec![2, 2], &[0.1, f32::NAN, f32::INFINITY, -3.0]).unwrap();
    assert_eq!(tensor.to_json(), json!([[0.1, null], [null, -3.0]]));
    let scalar = HostTensor::from_i64(vec![], &[i64::MIN]).unwrap();
    assert_eq!(scalar.to_json(), json!(i64::MIN));
}

/// A text fills `ids` and `mask` with as many numbers as it has letters, an image `pixels` with its bytes.
struct Letters;

impl Media for Letters {
    fn image_input(&self) -> Option<usize> {
        Some(2)
    }

    fn text_inputs(&self) -> &[usize] {
        &[0, 1]
    }

    fn refusal(&self) -> String {
        String::new()
    }

    fn is_image(&self, file: &[u8]) -> bool {
        file.starts_with(b"P")
    }

    fn image(&mut self, file: &[u8]) -> Result<HostTensor, String> {
        HostTensor::new(DataType::Uint8, vec![file.len()], file.to_vec())
    }

    fn text(&mut self, first: &str, second: Option<&str>) -> Result<Vec<HostTensor>, String> {
        let length = first.len() + second.map_or(0, str::len);
        let ones = || HostTensor::from_i64(vec![length], &vec![1; length]);
        Ok(vec![ones()?, ones()?])
    }
}

#[test]
fn texts_and_images_stand_for_the_inputs_that_they_fill() {
    let int = DataType::Int64;
    let all = format(&[
        ("ids", int, &[-1]),
        ("mask", int, &[-1]),
        ("pixels", DataType::Uint8, &[-1]),
    ]);
    let read = |value: Value| all.read("inputs", &value, &mut Letters);
    let one = read(json!({"text": "ab", "text_pair": "c", "image": "UFFS"})).unwrap();
    assert!(!one.is_batch);
    assert_eq!(shapes(&one), [[&[3][..], &[3], &[3]]]);
    for batch in [
        json!({"text": ["ab", "c"], "pixels": ["UFFS", "UA=="]}),
        json!([{"text": "ab", "image": "UFFS"}, {"text": "c", "pixels": [1]}]),
    ] {
        let two = read(batch).unwrap();
        assert!(two.is_batch);
        assert_eq!(shapes(&two), [[&[2][..], &[2], &[3]], [&[1], &[1], &[1]]]);
    }
    for (value, words) in [
        (json!("ab"), "\"text\" and \"image\", got a string"),
        (json!({"text": "ab"}), "inputs.pixels is missing"),
        (
            json!({"text": 1, "image": "UA=="}),
            "inputs.text: expected a text, got 1",
        ),
        (
            json!({"text_pair": "c", "image": "UA=="}),
            "inputs.text_pair: a second text without a first",
        ),
        (
            json!({"text": "a", "ids": [1], "image": "UA=="}),
            "inputs.text: what it is for the network is there already",
        ),
        (
            json!({"text": "a", "image": "!"}),
            "inputs.image: expected an image in base64",
        ),
        (
            json!({"text": ["a", "b"], "image": ["UA=="]}),
            "inputs.image: expected an array of 2",
        ),
        (
            json!({"text": ["a", "b"], "image": "UA=="}),
            "inputs.image: expected an array of 2",
        ),
        (
            json!({"text": "a", "image": "UA==", "audio": 1}),
            "\"audio\" is no input",
        ),
    ] {
        let error = read(value.clone()).unwrap_err();
        assert!(error.contains(words), "{value}: {error}");
    }
    let pair = format(&[("ids", int, &[-1]), ("mask", int, &[-1])]);
    struct Text;
    impl Media for Text {
        fn image_input(&self) -> Option<usize> {
            None
        }
        fn text_inputs(&self) -> &[usize] {
            &[0, 1]
        }
        fn refusal(&self) -> String {
            "it takes no images".into()
        }
        fn is_image(&self, _file: &[u8]) -> bool {
            false
        }
        fn image(&mut self, _file: &[u8]) -> Result<HostTensor, String> {
            Err(self.refusal())
        }
        fn text(&mut self, first: &str, second: Option<&str>) -> Result<Vec<HostTensor>, String> {
            Letters.text(first, second)
        }
    }
    let read = |value: Value| pair.read("inputs", &value, &mut Text);
    assert_eq!(shapes(&read(json!("abc")).unwrap()), [[&[3][..], &[3]]]);
    let two = read(json!(["abc", "d"])).unwrap();
    assert!(two.is_batch);
    assert_eq!(shapes(&two), [[&[3][..], &[3]], [&[1], &[1]]]);
    let pairs = read(json!([["abc", "d"], ["e", "f"]])).unwrap();
    assert_eq!(shapes(&pairs), [[&[4][..], &[4]], [&[2], &[2]]]);
    let file = pair.read_bytes("inputs", Bytes::from_static("héllo".as_bytes()), &mut Text);
    assert_eq!(shapes(&file.unwrap()), [[&[6][..], &[6]]]);
    let error = pair.read_bytes("inputs", Bytes::from_static(b"\xff"), &mut Text);
    assert!(error.unwrap_err().contains("bytes that are no JSON"));
    let error = read(json!({"image": "UA=="})).unwrap_err();
    assert!(error.contains("it takes no images"), "{error}");
}
