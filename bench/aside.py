"The images that bench/best.py and bench/words.py judge by: 900 of the data that a command line names."
import sys

import numpy as np

from latentkit.data import Split, find_data, read_pairs, split_by_image

SEEDS = 42, 43, 44
source = find_data(sys.argv[1])
pairs = read_pairs(source.train, source.captions)
whole = split_by_image(pairs.image_of)
learnt = np.unique(pairs.image_of[whole.train])
chosen = np.random.default_rng(5).choice(learnt, len(learnt)//9, replace=False) # to judge by as well
apart = np.flatnonzero(np.isin(pairs.image_of, chosen))
split = Split(np.setdiff1d(whole.train, apart), np.sort(np.r_[whole.val, apart]), whole.test)
images, target = pairs.gallery(split.val)
