from .content import liked_profiles as liked_profiles
from .content import recency_weights as recency_weights
from .content import weighted_profiles as weighted_profiles
from .dataset import Dataset as Dataset
from .dataset import Ratings as Ratings
from .embeddings import read_embeddings as read_embeddings
from .errors import InputError as InputError
from .evaluation import Evaluation as Evaluation
from .evaluation import evaluate as evaluate
from .factors import Factors as Factors
from .pmf import Observed as Observed
from .pmf import PmfSettings as PmfSettings
from .pmf import fit_pmf as fit_pmf
from .pmf import fold_in as fold_in
from .protocol import Protocol as Protocol
from .protocol import Task as Task
from .protocol import evaluation_task as evaluation_task
from .scorers import hybrid_scorer as hybrid_scorer
from .scorers import mf_scorer as mf_scorer
from .scorers import text_scorer as text_scorer
from .sequential import fit_sequential as fit_sequential
from .sources import load_dataset as load_dataset
from .split import Split as Split
from .split import published_split as published_split
from .texts import item_texts as item_texts
from .topk import top_k as top_k

__version__: str
