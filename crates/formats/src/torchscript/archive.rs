//! The archive: its sources, its module, its constants.

use std::collections::HashMap;
use std::path::Path;

use hearth_kernels::Bytes;

use super::parser::parse;
use super::syntax::{Class, Function, Module};
use super::values::{ScriptValue, ValueId, Values};
use crate::torch::pickle::{Id, Object, Pickle};
use crate::torch::save::TensorReader;
use crate::torch::{MAX_DIMENSIONS, ScalarType, check_copies};
use crate::zip::ZipArchive;
use crate::{Error, Result, mmap};

/// All sources of an archive take at most this much, unpacked.
const MAX_SOURCE_BYTES: usize = 8 << 20;
/// Most bytes of a pickle, where it is compressed, which PyTorch does not do.
const MAX_PICKLE_BYTES: usize = 4 << 20;
/// Most tensors that one call is traced with, and how deeply they lie in lists, tuples and dictionaries.
const MAX_TRACED: usize = 4096;
/// Longer keys of dictionaries are not names of inputs.
const MAX_KEY: usize = 256;
const MAX_TRACED_DEPTH: usize = 4;

/// A function or method in its file.
#[derive(Debug, Clone, Copy)]
pub struct Code<'a> {
    /// The file's path in the archive, below its folder.
    pub file: &'a str,
    /// The function.
    pub function: &'a Function,
}

/// An argument that a module was traced with.
#[derive(Debug, Clone, PartialEq)]
pub enum TracedInput {
    /// A tensor: its type and sizes.
    Tensor(ScalarType, Vec<i64>),
    /// A list, or a tuple.
    List(Vec<TracedInput>),
    /// A dictionary whose keys are strings, in order.
    Dict(Vec<(String, TracedInput)>),
}

/// An open archive.
#[derive(Debug)]
pub struct ScriptArchive {
    label: String,
    data: Values,
    constants: Vec<ValueId>,
    constant_values: Option<Values>,
    traced: Option<Vec<TracedInput>>,
    files: Vec<(String, Module)>,
    /// The file and the place in it, by the whole name.
    classes: HashMap<String, (usize, usize)>,
    functions: HashMap<String, (usize, usize)>,
}

impl ScriptArchive {
    /// Maps an archive and reads its sources and its module.
    ///
    /// # Errors
    /// The file can't be read, is no sound archive, or is another kind of `.pt` file, which the error names.
    pub fn open(path: &Path) -> Result<ScriptArchive> {
        Self::from_bytes(mmap::map_file(path)?, path.display().to_string())
    }

    /// Reads an archive in memory. Errors call it `label`.
    ///
    /// # Errors
    /// As of [`ScriptArchive::open`].
    pub fn from_bytes(data: Bytes, label: String) -> Result<ScriptArchive> {
        let file_bytes = data.len();
        if !ZipArchive::is_zip(&data) {
            return Err(Error::unsupported(label, no_zip(&data)));
        }
        let zip = ZipArchive::with_compressed(data, label.clone())?;
        let Some(root) = root(&zip) else {
            return Err(Error::unsupported(&label, other_kind(&zip)));
        };
        let reader = Reader {
            zip: &zip,
            root: &root,
            label: &label,
        };
        reader.byte_order()?;
        let files = reader.sources()?;
        let data = reader.values("data")?;
        let constant_values = match zip.contains(&format!("{root}constants.pkl")) {
            true => Some(reader.values("constants")?),
            false => None,
        };
        let constants = match constant_values.as_ref().map(|v| v.get(v.root())) {
            Some(ScriptValue::Tuple(items)) => items.clone(),
            _ => Vec::new(),
        };
        let values = data
            .iter()
            .chain(constant_values.iter().flat_map(Values::iter));
        let tensors = values.filter_map(|value| match value {
            ScriptValue::Tensor(tensor) => Some(tensor),
            _ => None,
        });
        check_copies(tensors, file_bytes)
            .map_err(|problem| Error::field(&label, "tensors", problem))?;
        let (mut classes, mut functions) = (HashMap::new(), HashMap::new());
        for (i, (path, module)) in files.iter().enumerate() {
            let prefix = path
                .strip_prefix("code/")
                .and_then(|path| path.strip_suffix(".py"))
                .unwrap_or(path)
                .replace('/', ".");
            for (j, class) in module.classes.iter().enumerate() {
                classes.insert(format!("{prefix}.{}", class.name), (i, j));
            }
            for (j, function) in module.functions.iter().enumerate() {
                functions.insert(format!("{prefix}.{}", function.name), (i, j));
            }
        }
        Ok(ScriptArchive {
            traced: reader.traced(),
            label,
            data,
            constants,
            constant_values,
            files,
            classes,
            functions,
        })
    }

    /// What errors call the file.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// The module and all that it holds; it is the root.
    pub fn data(&self) -> &Values {
        &self.data
    }

    /// What the code calls `CONSTANTS.cN`.
    pub fn constant(&self, n: usize) -> Option<&ScriptValue> {
        let values = self.constant_values.as_ref()?;
        Some(values.get(*self.constants.get(n)?))
    }

    /// What a traced module's `forward` was traced with; `None` where it is not known.
    pub fn traced_inputs(&self) -> Option<&[TracedInput]> {
        self.traced.as_deref()
    }

    /// A class by its whole name.
    pub fn class(&self, name: &str) -> Option<&Class> {
        let (file, place) = *self.classes.get(name)?;
        Some(&self.files[file].1.classes[place])
    }

    /// A method of a class, by the class's whole name.
    pub fn method(&self, class: &str, name: &str) -> Option<Code<'_>> {
        let (file, place) = *self.classes.get(class)?;
        let (path, module) = &self.files[file];
        let mut methods = module.classes[place].methods.iter();
        let function = methods.find(|method| method.name == name)?;
        Some(Code {
            file: path,
            function,
        })
    }

    /// A function by its whole name.
    pub fn function(&self, name: &str) -> Option<Code<'_>> {
        let (file, place) = *self.functions.get(name)?;
        let (path, module) = &self.files[file];
        Some(Code {
            file: path,
            function: &module.functions[place],
        })
    }
}

/// An argument that a module was traced with; `None` where it is something else, or of no sound size.
fn traced_input(
    tensors: &TensorReader<'_>,
    pickle: &Pickle,
    id: Id,
    depth: usize,
    left: &mut usize,
) -> Option<TracedInput> {
    *left = left.checked_sub(1)?;
    if depth > MAX_TRACED_DEPTH {
        return None;
    }
    let mut inner = |id: Id| traced_input(tensors, pickle, id, depth + 1, left);
    match pickle.get(id) {
        Object::List(items) | Object::Tuple(items) => {
            let items = items.iter().map(|&item| inner(item));
            items.collect::<Option<_>>().map(TracedInput::List)
        }
        Object::Dict(items) => {
            let items = items.iter().map(|&(key, value)| match pickle.get(key) {
                Object::Str(key) if key.len() <= MAX_KEY => Some((key.to_string(), inner(value)?)),
                _ => None,
            });
            items.collect::<Option<_>>().map(TracedInput::Dict)
        }
        _ => {
            let (dtype, sizes) = tensors.described(id)?;
            let is_sound = |d: &i64| (0..=i64::from(u32::MAX)).contains(d);
            let is_sound = sizes.len() <= MAX_DIMENSIONS && sizes.iter().all(is_sound);
            is_sound.then_some(TracedInput::Tensor(dtype, sizes))
        }
    }
}

/// The folder that all entries lie in, with its slash; `None` where the archive is no TorchScript.
fn root(zip: &ZipArchive) -> Option<String> {
    let root = zip
        .names()
        .filter_map(|name| name.strip_suffix("data.pkl"))
        .find(|root| root.is_empty() || root.find('/') == Some(root.len() - 1))?;
    let code = format!("{root}code/");
    let has_code = zip.names().any(|name| name.starts_with(&code));
    let has_constants = zip.contains(&format!("{root}constants.pkl"));
    (has_code || has_constants).then(|| root.to_owned())
}

const HOW: &str = "save the network itself in Python, with torch.export.save(torch.export.export(model.eval(), (example,)), \
    \"model.pt2\") or torch.jit.save(torch.jit.trace(model.eval(), example), \"model.pt\")";

/// What a zip archive that holds no TorchScript is.
fn other_kind(zip: &ZipArchive) -> String {
    if zip
        .names()
        .any(|name| name.ends_with("archive_format") || name.ends_with("exported_program.json"))
    {
        return "a program of torch.export, not TorchScript; call the file .pt2".into();
    }
    let Some(name) = zip.names().find(|name| name.ends_with("data.pkl")) else {
        return format!("a zip archive, but not TorchScript; {HOW}");
    };
    let pickle = zip.content(name, MAX_PICKLE_BYTES).ok().flatten();
    match pickle.as_deref().map(whole_object) {
        Some(Some(class)) if class != "collections.OrderedDict" => format!(
            "a Python object of the class {class}, pickled by torch.save: the network's code is not in the file; {HOW}"
        ),
        _ => format!(
            "weights alone, saved by torch.save (a state dict or checkpoint): there is no network in the file; {HOW}"
        ),
    }
}

/// What a file that is no zip archive is.
fn no_zip(data: &[u8]) -> String {
    if data.first() == Some(&0x80) {
        return format!(
            "a pickle, as torch.save of before PyTorch 1.6 wrote, not TorchScript; {HOW}"
        );
    }
    "not TorchScript, which is a zip archive; is the file whole?".into()
}

/// The class of the object that a pickle begins with, where it does.
fn whole_object(pickle: &[u8]) -> Option<String> {
    let rest = pickle.strip_prefix(b"\x80\x02c")?;
    let mut lines = rest.get(..rest.len().min(512))?.split(|&b| b == b'\n');
    let (module, name) = (lines.next()?, lines.next()?);
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
    Some(format!("{}.{}", text(module)?, text(name)?))
}

struct Reader<'a> {
    zip: &'a ZipArchive,
    root: &'a str,
    label: &'a str,
}

impl Reader<'_> {
    fn byte_order(&self) -> Result<()> {
        let order = self.zip.content(&format!("{}byteorder", self.root), 16)?;
        match order.as_deref() {
            None | Some(b"little") => Ok(()),
            Some(_) => Err(Error::unsupported(
                self.label,
                "a byte order other than little",
            )),
        }
    }

    fn sources(&self) -> Result<Vec<(String, Module)>> {
        let mut left = MAX_SOURCE_BYTES;
        let mut files = Vec::new();
        for name in self.zip.names() {
            let Some(path) = name.strip_prefix(self.root) else {
                continue;
            };
            if !path.starts_with("code/") || !path.ends_with(".py") {
                continue;
            }
            let Some(bytes) = self.zip.content(name, left)? else {
                continue;
            };
            left = left.saturating_sub(bytes.len());
            let text = std::str::from_utf8(&bytes)
                .map_err(|e| Error::field(self.label, path, e.to_string()))?;
            let module = parse(text).map_err(|(line, problem)| {
                Error::field(self.label, format!("{path}, line {line}"), problem)
            })?;
            files.push((path.to_owned(), module));
        }
        Ok(files)
    }

    fn pickle(&self, name: &str) -> Result<Pickle> {
        let field = format!("{}{name}.pkl", self.root);
        let Some(bytes) = self.zip.content(&field, MAX_PICKLE_BYTES)? else {
            return Err(Error::field(
                self.label,
                field,
                "the archive has no such entry",
            ));
        };
        Pickle::parse_script(&bytes).map_err(|(at, problem)| Error::Malformed {
            file: self.label.to_owned(),
            field,
            offset: at as u64,
            problem,
        })
    }

    fn values(&self, name: &str) -> Result<Values> {
        let pickle = self.pickle(name)?;
        let folder = format!("{}{name}/", self.root);
        let tensors = TensorReader::new(self.zip, &folder, &pickle);
        Values::new(&pickle, &tensors)
            .map_err(|problem| Error::field(self.label, format!("{name}.pkl"), problem))
    }

    /// What `forward` was traced with. Where this can't be told, it is as if it were not there: it is a help only.
    fn traced(&self) -> Option<Vec<TracedInput>> {
        let pickle = self.pickle("traced_inputs").ok()?;
        let tensors = TensorReader::new(self.zip, "", &pickle);
        let Object::Dict(methods) = pickle.get(pickle.root()) else {
            return None;
        };
        let forward = methods.iter().find_map(|&(name, inputs)| {
            matches!(pickle.get(name), Object::Str(name) if &**name == "forward").then_some(inputs)
        })?;
        let Object::List(inputs) = pickle.get(forward) else {
            return None;
        };
        let mut left = MAX_TRACED;
        let all = inputs
            .iter()
            .map(|&input| traced_input(&tensors, &pickle, input, 0, &mut left));
        all.collect()
    }
}
