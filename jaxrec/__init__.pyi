from .border.embeddings import read_embeddings as read_embeddings
from .data.dataset import Dataset as Dataset
from .data.dataset import Ratings as Ratings
from .data.sources import load_dataset as load_dataset
from .data.texts import item_texts as item_texts
from .errors import InputError as InputError
from .evaluation.measure import Evaluation as Evaluation
from .evaluation.measure import evaluate as evaluate
from .evaluation.protocol import Protocol as Protocol
from .evaluation.protocol import Task as Task
from .evaluation.protocol import evaluation_task as evaluation_task
from .evaluation.split import Split as Split
from .evaluation.split import published_split as published_split
from .fusion.profiles import liked_profiles as liked_profiles
from .fusion.profiles import recency_weights as recency_weights
from .fusion.profiles import weighted_profiles as weighted_profiles
from .fusion.published import hybrid_scorer as hybrid_scorer
from .fusion.published import mf_scorer as mf_scorer
from .fusion.published import text_scorer as text_scorer
from .pmf.factors import Factors as Factors
from .pmf.fit import Observed as Observed
from .pmf.fit import PmfSettings as PmfSettings
from .pmf.fit import fit_pmf as fit_pmf
from .pmf.fit import fold_in as fold_in
from .pmf.sequential import fit_sequential as fit_sequential
from .topk.ranking import top_k as top_k

__version__: str
