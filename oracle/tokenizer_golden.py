"""Golden tokens: small tokenizers of each kind, texts, and what the reference makes of them.

Trains byte-level BPE with several pre-tokenizers, SentencePiece BPE and WordPiece on the sentences below, writes each as
a Hugging Face folder, and records the ids and the decoded texts of `tokenizers`, the library behind transformers, for
every text. For SentencePiece the vocabulary is also kept as its own pieces, scores and types with the ids that the
sentencepiece library gives. Where llama_cpp can be imported, a vocabulary-only GGUF file is made of each folder and the
ids of llama.cpp are recorded too.

    python tokenizer_golden.py ../crates/llm/tests/fixtures/tokenizer
"""

import argparse
import io
import json
import random
import tempfile
from pathlib import Path

import sentencepiece
import tokenizers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

SEED = 7
CL100K = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2 = CL100K.replace(r"\p{N}{1,3}", r"\p{N}")
O200K = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
TEKKEN = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
DEEPSEEK3 = (
    r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"""
)

SENTENCES = [
    "The harbour master counts the boats before the tide turns, and writes the number in a blue book.",
    "We'll see what they've done; it's not what I'd have done, but they're happy and that'll do.",
    "Der Bäcker öffnet früh, weil die Straße schon voller Leute ist, die Brötchen möchten.",
    "Über den Wäldern zieht ein Gewitter auf, und es grollt von ferne.",
    "L'été dernier, à la mer, nous avons mangé des crêpes près du vieux phare abandonné.",
    "El niño pequeño soñaba con pingüinos y mañanas frías junto al río.",
    "Утром старый капитан вышел на палубу и долго смотрел на серое море.",
    "Το πλοίο φεύγει νωρίς το πρωί από το λιμάνι της πόλης.",
    "今天早上,老船长走上甲板,看着灰色的大海,想起了年轻的时候。",
    "港の朝はとても静かで、カモメの声だけが聞こえます。",
    "아침 항구는 조용하고 갈매기 소리만 들린다.",
    "في الصباح الباكر خرج القبطان العجوز إلى سطح السفينة.",
    "सुबह समुद्र शांत था और नावें धीरे धीरे चल रही थीं।",
    "def tide(level, hours=12):\n    return [level * 0.5 for _ in range(hours) if level >= 0]\n",
    "for (int i = 0; i < n; ++i) {\n\tsum += values[i] * 2;\n}\n",
    '{"name": "harbour", "depth": 12.5, "open": true, "boats": [1, 2, 3]}',
    "In 1987 there were 12345 boats, 42 captains and 3.14159 pies; by 2024 only 7 remained.",
    "😀 🎉 👍🏽 👨‍👩‍👧‍👦 🇩🇪 ❤️ ☀️ 🚢⚓",
    "A  line   with    runs     of      spaces\n\n\nand\tlines\r\nof all\u00a0kinds.",
    "SHOUTING AND Whispering And camelCase and snake_case and kebab-case",
]

TEXTS = [
    "",
    " ",
    "  ",
    "\n",
    "\t\n \r\n  \n\n",
    "a",
    " a",
    "a ",
    "Hello, world!",
    " Hello,  world! ",
    "The harbour master counts the boats.",
    "We'll, I'D, they'Re, IT'S, don't 'twas o'clock",
    "Der Bäcker öffnet früh. STRASSE Straße",
    "L'été à la mer: crêpes, œufs, naïveté",
    "Утро. Старый капитан вышел на палубу",
    "今天早上,老船长走上甲板。漢字かな交じり文",
    "港の朝はとても静かで、カモメの声だけ",
    "아침 항구는 조용하고",
    "في الصباح الباكر, ١٢٣",
    "सुबह समुद्र शांत था।",
    "ελληνικά ΟΔΟΣ",
    "😀😃 👨‍👩‍👧‍👦 👍🏽 🇩🇪🇫🇷 ❤️ 🚢",
    "e\u0301 cafe\u0301 n\u0303 \u1112\u1161\u11ab a\u0308\u0323",
    "def f(x):\n    return x**2  # square\n\n\nclass A(B):\n\tpass\n",
    "<html><body class=\"x\">&nbsp;</body></html>",
    "if (a!=b&&c||d){a+=1;}//end",
    "0 12 123 1234 12345 1,234.56 ½ ² Ⅷ",
    "x=1;y=22;z=333;w=4444",
    "    four\n        eight\n\ttab",
    "many" + " " * 17 + "spaces" + "\n" * 5 + "lines",
    "\u00a0nbsp\u2003em\u3000ideographic\u200bzero",
    "ﬁ ligature Å Å ſ K",
    "\u0000nul \u0007bell \u007f",
    "\ufffd\ufeffbom \ufdd0 \U0010ffff",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "▁low ▁▁ line",
    "Ġ Ċ are not bytes",
    "<0x41> <0xE4> ##ing [UNK] [CLS]",
    "camelCase HTTPServer XMLHttpRequest iPhone",
    "https://example.org/a/b?c=d&e=%20#f user@example.org",
    "one\rtwo\r\nthree\u2028four\u0085five",
    "ﷺ 𝕳𝖊𝖑𝖑𝖔 𐍈 𠜎",
    "'s 't 're 've 'm 'll 'd 'S",
    "!!! ... ?! -- — … «»",
    "🚢" * 5 + " ⚓",
]


def bpe(pre_tokenizer, specials, normalizer=None, added=(), ignore_merges=False, bos=None):
    tokenizer = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        SENTENCES * 3,
        trainers.BpeTrainer(vocab_size=700, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False),
    )
    tokenizer.add_special_tokens([AddedToken(s, special=True, normalized=False) for s in specials])
    tokenizer.add_tokens([AddedToken(s, special=False, normalized=False) for s in added])
    if bos:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", pair=f"{bos} $A {bos}:1 $B:1", special_tokens=[(bos, tokenizer.token_to_id(bos))]
        )
    return tokenizer


def split(*patterns):
    return pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(p), behavior="isolated") for p in patterns]
        + [pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )


def wordpiece(lowercase):
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer.train_from_iterator(
        SENTENCES, trainers.WordPieceTrainer(vocab_size=700, special_tokens=specials, show_progress=False)
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(s, tokenizer.token_to_id(s)) for s in ("[CLS]", "[SEP]")],
    )
    return tokenizer


def train_sentencepiece():
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES * 3), model_writer=model, model_type="bpe", vocab_size=900, byte_fallback=True,
        character_coverage=0.98, normalization_rule_name="identity", remove_extra_whitespaces=False, num_threads=1,
        allow_whitespace_only_pieces=True, split_digits=True, user_defined_symbols=["<tool>"], minloglevel=2,
    )
    return sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())


def pieces_of(sp):
    tokens = [sp.id_to_piece(i) for i in range(sp.get_piece_size())]
    scores = [sp.get_score(i) for i in range(len(tokens))]
    types = []
    for i, token in enumerate(tokens):
        if sp.is_unknown(i):
            types.append(2)
        elif sp.is_control(i):
            types.append(3)
        elif sp.is_byte(i):
            types.append(6)
        elif token == "<tool>":
            types.append(4)
        else:
            types.append(1)
    return tokens, scores, types


def sentencepiece_folder(sp, scheme):
    """As transformers converts Llama's: scheme "prepend" before version 4.38, "first" after."""
    from transformers.convert_slow_tokenizer import generate_merges

    tokens, scores, types = pieces_of(sp)
    vocab = {t: i for i, t in enumerate(tokens)}
    merges = generate_merges(vocab, dict(zip(tokens, scores)), skip_tokens=[t for t, k in zip(tokens, types) if k in (2, 3, 6)])
    tokenizer = Tokenizer(models.BPE(vocab, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    if scheme == "prepend":
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme=scheme, split=False)
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    if scheme != "never":
        steps.append(decoders.Strip(content=" ", left=1, right=0))
    tokenizer.decoder = decoders.Sequence(steps)
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t, k in zip(tokens, types) if k in (2, 3)])
    tokenizer.add_tokens([AddedToken("<tool>", special=False, normalized=False)])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s>:1 $B:1", special_tokens=[("<s>", vocab["<s>"])]
    )
    return tokenizer


PRE = {
    "gpt2": "gpt-2", "llama3": "llama-bpe", "qwen2": "qwen2", "qwen2-plain": "qwen2", "starcoder": "starcoder", "gpt-4o": "gpt-4o",
    "tekken": "tekken", "deepseek-v3": "deepseek-v3", "falcon": "falcon",
}


def llama_cpp_ids(name, tokenizer, pieces, texts):
    """The ids that llama.cpp gives to the same vocabulary, None where llama_cpp cannot be imported."""
    try:
        import gguf
        import llama_cpp
    except ImportError:
        return None
    vocab = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    tokens = [token for token, _ in vocab]
    added = tokenizer.get_added_tokens_decoder()
    types = [(3 if added[i].special else 4) if i in added else 1 for i in range(len(tokens))]
    with tempfile.TemporaryDirectory() as tmp:
        path = Path(tmp) / "vocab.gguf"
        writer = gguf.GGUFWriter(path, "llama")
        writer.add_context_length(128)
        writer.add_embedding_length(32)
        writer.add_feed_forward_length(64)
        writer.add_head_count(2)
        writer.add_block_count(1)
        writer.add_layer_norm_rms_eps(1e-5)
        writer.add_rope_dimension_count(16)
        if name in PRE:
            writer.add_tokenizer_model("gpt2")
            writer.add_tokenizer_pre(PRE[name])
            merges = json.loads(tokenizer.to_str())["model"]["merges"]
            writer.add_token_merges([" ".join(m) for m in merges])
        elif name.startswith("bert"):
            writer.add_tokenizer_model("bert")
            writer.add_bool("tokenizer.ggml.normalizer.lowercase", name == "bert")
            tokens = [t[2:] if t.startswith("##") else t if t[0] == "[" and t[-1] == "]" else "▁" + t for t in tokens]
        else:
            writer.add_tokenizer_model("llama")
            tokens, scores, types = pieces
            writer.add_token_scores(scores)
            writer.add_add_space_prefix(name != "llama-never")
            writer.add_unk_token_id(0)
        writer.add_token_list(tokens)
        writer.add_token_types(types)
        for key, text in [("unk", "[UNK]"), ("bos", "[CLS]"), ("sep", "[SEP]"), ("eos", "[SEP]"), ("pad", "[PAD]"), ("mask", "[MASK]")]:
            if name.startswith("bert"):
                getattr(writer, f"add_{key}_token_id")(tokenizer.token_to_id(text))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        model = llama_cpp.Llama(str(path), vocab_only=True, verbose=False)
        return [model.tokenize(text.encode(), add_bos=False, special=True) for text in texts]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    rng = random.Random(SEED)
    sp = train_sentencepiece()
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    chatml = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    kinds = {
        "gpt2": (bpe(byte_level, ["<|endoftext|>"]), dict(bos_token="<|endoftext|>", eos_token="<|endoftext|>")),
        "llama3": (
            bpe(split(CL100K), ["<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>"], ignore_merges=True, bos="<|begin_of_text|>"),
            dict(bos_token="<|begin_of_text|>", eos_token="<|eot_id|>"),
        ),
        "qwen2": (
            bpe(split(QWEN2), chatml, normalizer=normalizers.NFC(), added=["<tool_call>", "</tool_call>"]),
            dict(eos_token="<|im_end|>", pad_token="<|endoftext|>"),
        ),
        "qwen2-plain": (bpe(split(QWEN2), chatml), dict(eos_token="<|im_end|>", pad_token="<|endoftext|>")),
        "starcoder": (
            bpe(pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), byte_level]), ["<|endoftext|>"]),
            dict(bos_token="<|endoftext|>", eos_token="<|endoftext|>"),
        ),
        "gpt-4o": (bpe(split(O200K), ["<|endoftext|>"]), dict(eos_token="<|endoftext|>")),
        "tekken": (bpe(split(TEKKEN), ["<s>", "</s>"], ignore_merges=True, bos="<s>"), dict(bos_token="<s>", eos_token="</s>")),
        "deepseek-v3": (
            bpe(split(r"\p{N}{1,3}", "[一-龥぀-ゟ゠-ヿ]+", DEEPSEEK3), ["<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"]),
            dict(bos_token="<｜begin▁of▁sentence｜>", eos_token="<｜end▁of▁sentence｜>"),
        ),
        "falcon": (
            bpe(
                pre_tokenizers.Sequence([
                    pre_tokenizers.Punctuation(behavior="contiguous"), byte_level, pre_tokenizers.Split(Regex("[0-9][0-9][0-9]"), behavior="isolated"),
                ]),
                ["<|endoftext|>"],
            ),
            dict(eos_token="<|endoftext|>"),
        ),
        "llama": (sentencepiece_folder(sp, "prepend"), dict(bos_token="<s>", eos_token="</s>", unk_token="<unk>")),
        "llama-first": (sentencepiece_folder(sp, "first"), dict(bos_token="<s>", eos_token="</s>", unk_token="<unk>")),
        "llama-never": (sentencepiece_folder(sp, "never"), dict(bos_token="<s>", eos_token="</s>", unk_token="<unk>")),
        "bert": (wordpiece(True), dict(cls_token="[CLS]", sep_token="[SEP]", unk_token="[UNK]", pad_token="[PAD]", mask_token="[MASK]")),
        "bert-cased": (wordpiece(False), dict(cls_token="[CLS]", sep_token="[SEP]", unk_token="[UNK]", pad_token="[PAD]", mask_token="[MASK]")),
    }
    versions = {"tokenizers": tokenizers.__version__, "sentencepiece": sentencepiece.__version__}
    for name, (tokenizer, config) in kinds.items():
        folder = args.out / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "tokenizer.json").write_text(json.dumps(json.loads(tokenizer.to_str()), ensure_ascii=False, separators=(",", ":")) + "\n")
        (folder / "tokenizer_config.json").write_text(json.dumps(config, ensure_ascii=False) + "\n")
        specials = [t.content for t in tokenizer.get_added_tokens_decoder().values()]
        texts = list(TEXTS)
        for special in specials:
            texts += [special, f"a {special} b", f"{special}{special}", f"x{special}\n y"]
        texts.append("".join(f"{s} mid" for s in specials))
        cases = []
        for text in texts:
            encoding = tokenizer.encode(text, add_special_tokens=False)
            prompt = tokenizer.encode(text)
            tokenizer.encode_special_tokens = True
            plain = tokenizer.encode(text, add_special_tokens=False)
            tokenizer.encode_special_tokens = False
            case = {"text": text, "ids": encoding.ids, "decoded": tokenizer.decode(encoding.ids, skip_special_tokens=False)}
            if plain.ids != encoding.ids:
                case["text_ids"] = plain.ids
            if prompt.ids != encoding.ids:
                case["prompt_ids"] = prompt.ids
            cases.append(case)
        vocab_size = tokenizer.get_vocab_size()
        decodes = []
        for _ in range(12):
            ids = [rng.randrange(vocab_size) for _ in range(rng.randrange(1, 12))]
            decodes.append({"ids": ids, "decoded": tokenizer.decode(ids, skip_special_tokens=False), "skipped": tokenizer.decode(ids)})
        golden = {"seed": SEED, "versions": versions, "cases": cases, "decodes": decodes}
        ids = llama_cpp_ids(name, tokenizer, pieces_of(sp), texts)
        if ids is not None:
            import llama_cpp

            golden["versions"] = versions | {"llama_cpp": llama_cpp.__version__}
            for case, theirs in zip(cases, ids):
                if theirs != case["ids"]:
                    case["llama_cpp_ids"] = theirs
        (folder / "golden.json").write_text(json.dumps(golden, ensure_ascii=False, separators=(",", ":")) + "\n")
        differ = sum("llama_cpp_ids" in c for c in cases)
        print(f"{name}: {vocab_size} tokens, {len(cases)} texts, llama.cpp differs on {differ if ids is not None else 'unknown'}")
    tokens, scores, types = pieces_of(sp)
    cases = [{"text": t, "ids": sp.encode(t), "decoded": sp.decode(sp.encode(t))} for t in TEXTS if t]
    (args.out / "sentencepiece.json").write_text(
        json.dumps({"seed": SEED, "versions": versions, "tokens": tokens, "scores": scores, "types": types, "cases": cases},
                   ensure_ascii=False, separators=(",", ":")) + "\n"
    )


if __name__ == "__main__":
    main()
