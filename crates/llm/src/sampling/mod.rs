//! From logits to a token.
//!
//! The steps and their order are those of Hugging Face transformers' `generate`
//! (`GenerationMixin._get_logits_processor`), with OpenAI's and vLLM's meaning of the presence
//! and frequency penalties:
//!
//! 1. `logit_bias` is added;
//! 2. penalties: repetition (prompt and answer; Keskar et al. 2019, arXiv:1909.05858), then
//!    frequency and presence (the answer alone);
//! 3. `temperature` divides; 0 takes the most likely token and ends here;
//! 4. `top_k` keeps the k most likely (Fan et al. 2018, arXiv:1805.04833);
//! 5. `top_p` keeps the fewest whose probabilities reach p (Holtzman et al. 2019,
//!    arXiv:1904.09751), of what step 4 left;
//! 6. `min_p` keeps those with at least this share of the most likely one's probability
//!    (Nguyen et al. 2024, arXiv:2407.01082);
//! 7. one is drawn in proportion to its probability.
//!
//! Equal logits are told apart by token, the lower one first. The draw's random number depends
//! on the seed and on the token's index in the answer alone, so that neither other requests
//! nor preemption can change it.

mod params;
mod philox;
mod sampler;
mod scan;
mod select;

pub use params::SamplingParams;
pub use philox::{derive_seed, random_seed};
pub use sampler::Sampler;
pub(crate) use sampler::score;
