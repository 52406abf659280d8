//! Settings of single models: the tables `[models.NAME]` of a file.
//!
//! What a model's table does not say is as the keys of the same name in `[models]` say for all.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::time::Duration;

use hearth_runtime::{KeepAlive, ModelSettings, Quantize, Strategy};

use super::value::{Priority, Raw, Value};
use super::{Origin, Settings};

/// What is known of a setting of a model.
pub struct ModelSetting {
    /// Its key in the model's table.
    pub key: &'static str,
    /// What it does.
    pub doc: &'static str,
    /// What its value has to be.
    pub expected: &'static str,
    /// Reads a value; false if it is not as expected.
    pub set: fn(&mut ModelChoices, &Raw) -> bool,
    /// The value as text; `None` where nothing is set.
    pub show: fn(&ModelChoices) -> Option<String>,
}

macro_rules! model_settings {
    ($($(#[doc = $doc:literal])+ $name:ident: $type:ty;)+) => {
        /// What is chosen for one model.
        #[derive(Debug, Clone, Default, PartialEq)]
        pub struct ModelChoices {
            $($(#[doc = $doc])+ pub $name: Option<$type>,)+
        }

        /// Every setting of a model.
        pub static MODEL_TABLE: &[ModelSetting] = &[$(ModelSetting {
            key: stringify!($name),
            doc: concat!($($doc),+),
            expected: <$type as Value>::EXPECTED,
            set: |choices, raw| match <$type as Value>::take(raw) {
                Some(value) => {
                    choices.$name = Some(value);
                    true
                }
                None => false,
            },
            show: |choices| choices.$name.show(),
        }),+];
    };
}

model_settings! {
    /// How long it stays in memory once nobody uses it; 0 unloads at once, -1 never.
    keep_alive: KeepAlive;
    /// Load it at the start, and keep it loaded whether it is used or not.
    pinned: bool;
    /// Instances that are started when it is loaded; they share the weights.
    instances: NonZeroUsize;
    /// Instances that it may grow to while requests wait.
    max_instances: NonZeroUsize;
    /// How long requests have to wait for an instance before another is started, where max_instances allows one.
    scale_up_after: Duration;
    /// Which instance takes a request.
    dispatch: Strategy;
    /// Requests that an instance works on at a time.
    concurrency: NonZeroUsize;
    /// Requests that may wait for an instance; one more is answered 503.
    queue_limit: NonZeroUsize;
    /// The priority of requests that name none.
    priority: Priority;
    /// How small the weights are made when it is loaded.
    quantize: Quantize;
}

/// The setting of a model called `key`.
pub(super) fn find(key: &str) -> Option<&'static ModelSetting> {
    MODEL_TABLE.iter().find(|setting| setting.key == key)
}

/// Choices for models by name, each with where it came from.
#[derive(Debug, Clone, Default)]
pub struct Models {
    choices: BTreeMap<String, ModelChoices>,
    origins: BTreeMap<(String, &'static str), Origin>,
}

/// Whether they choose the same, wherever that came from.
impl PartialEq for Models {
    fn eq(&self, other: &Self) -> bool {
        self.choices == other.choices
    }
}

impl Models {
    /// Puts a value for `model`; false if it is not as expected.
    pub(super) fn put(
        &mut self,
        model: &str,
        setting: &'static ModelSetting,
        raw: &Raw,
        origin: Origin,
    ) -> bool {
        let choices = self.choices.entry(model.to_owned()).or_default();
        let good = (setting.set)(choices, raw);
        if good {
            self.origins.insert((model.to_owned(), setting.key), origin);
        }
        good
    }

    /// What is chosen for each model, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &ModelChoices)> {
        let each = self.choices.iter();
        each.map(|(name, choices)| (name.as_str(), choices))
    }

    /// Where the value of `setting` for `model` came from; `None` where it has none of its own.
    pub fn origin(&self, model: &str, setting: &ModelSetting) -> Option<&Origin> {
        self.origins.get(&(model.to_owned(), setting.key))
    }
}

impl Settings {
    /// How models are kept that have no settings of their own.
    pub fn model_defaults(&self) -> ModelSettings {
        self.model_settings_of(&ModelChoices::default())
    }

    /// How models are kept that have settings of their own, by name.
    pub fn model_settings(&self) -> BTreeMap<String, ModelSettings> {
        let each = self.models.iter();
        each.map(|(name, choices)| (name.to_owned(), self.model_settings_of(choices)))
            .collect()
    }

    fn model_settings_of(&self, choices: &ModelChoices) -> ModelSettings {
        let min_instances = choices.instances.unwrap_or(self.instances).get();
        let max_instances = choices.max_instances.unwrap_or(self.max_instances).get();
        let scale_up_after = choices.scale_up_after.unwrap_or(self.scale_up_after);
        let concurrency = choices.concurrency.or(self.concurrency);
        ModelSettings {
            keep_alive: choices.keep_alive.unwrap_or(self.model_keep_alive),
            pinned: choices.pinned.unwrap_or(false),
            min_instances,
            max_instances,
            scale_up_after: (max_instances > min_instances).then_some(scale_up_after),
            strategy: choices.dispatch.unwrap_or(self.dispatch),
            concurrency: concurrency.map(NonZeroUsize::get),
            queue_limit: choices.queue_limit.unwrap_or(self.queue_limit).get(),
            priority: choices.priority.unwrap_or(self.priority).0,
            quantize: choices.quantize.unwrap_or(self.quantize),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Raw, TABLE};

    fn settings(model: &[(&str, &str)]) -> Settings {
        let mut settings = Settings::default();
        for (key, text) in model {
            let setting = find(key).expect("a setting");
            let raw = Raw::Text((*text).to_owned());
            assert!(settings.models.put("m", setting, &raw, Origin::Default));
        }
        settings
    }

    #[test]
    fn nothing_chosen_is_as_the_runtime_has_it() {
        let settings = Settings::default();
        assert_eq!(settings.model_defaults(), ModelSettings::default());
        assert!(settings.model_settings().is_empty());
    }

    #[test]
    fn what_a_model_does_not_say_is_said_for_all() {
        let mut settings = settings(&[("keep_alive", "-1"), ("pinned", "true"), ("quantize", "4")]);
        settings.dispatch = Strategy::RoundRobin;
        settings.model_keep_alive = KeepAlive::For(Duration::ZERO);
        let expected = ModelSettings {
            keep_alive: KeepAlive::Forever,
            pinned: true,
            strategy: Strategy::RoundRobin,
            quantize: Quantize::Bits(4),
            ..ModelSettings::default()
        };
        assert_eq!(settings.model_settings()["m"], expected);
        assert_eq!(
            settings.model_defaults().keep_alive,
            KeepAlive::For(Duration::ZERO)
        );
    }

    #[test]
    fn only_a_model_that_may_grow_does() {
        let still = settings(&[("instances", "3"), ("scale_up_after", "1s")]);
        assert_eq!(still.model_settings()["m"].scale_up_after, None);
        let growing = settings(&[("max_instances", "3"), ("scale_up_after", "1s")]);
        let growing = &growing.model_settings()["m"];
        let expected = (3, Some(Duration::from_secs(1)));
        assert_eq!((growing.max_instances, growing.scale_up_after), expected);
    }

    #[test]
    fn what_can_be_said_of_one_model_can_be_said_of_all() {
        for setting in MODEL_TABLE {
            let key = format!("models.{}", setting.key);
            let common = TABLE.iter().any(|common| common.key == key);
            assert_eq!(common, setting.key != "pinned", "{key}");
        }
    }
}
