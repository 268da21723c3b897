"""Calls of SciPy's and scikit-learn's functions that speak the array API, on Tensors and on NumPy's arrays.

A script, because SciPy reads SCIPY_ARRAY_API when it is imported: test_dispatch.py runs it. It prints a line per call,
"name: kind of the result, ok" or what went wrong.
"""

from __future__ import annotations

import sys
import warnings

import numpy as np

import weft

warnings.filterwarnings("ignore")
RNG = np.random.default_rng(0)
HOST = RNG.random((8, 5))
TABLE = RNG.standard_normal((60, 5))
LABELS = (TABLE[:, 0] + 0.1 * RNG.standard_normal(60) > 0).astype(np.int64)


def scipy_calls():
    from scipy import cluster, fft, integrate, ndimage, signal, spatial, special, stats

    return {
        "logsumexp": lambda x: special.logsumexp(x, axis=1),
        "softmax": lambda x: special.softmax(x, axis=1),
        "gammaln": lambda x: special.gammaln(x),
        "erf": lambda x: special.erf(x),
        "xlogy": lambda x: special.xlogy(x, x),
        "zscore": lambda x: stats.zscore(x, axis=0),
        "skew": lambda x: stats.skew(x),
        "pearsonr": lambda x: stats.pearsonr(x[:, 0], x[:, 1]).statistic,
        "ttest_ind": lambda x: stats.ttest_ind(x[:, 0], x[:, 1]).pvalue,
        "gmean": lambda x: stats.gmean(x),
        "entropy": lambda x: stats.entropy(x),
        "rfft": lambda x: fft.rfft(x),
        "whiten": lambda x: cluster.vq.whiten(x),
        "gaussian_filter": lambda x: ndimage.gaussian_filter(x, 1.0),
        "fftconvolve": lambda x: signal.fftconvolve(x, x),
        "rotation": lambda x: spatial.transform.Rotation.from_quat(x[:, :4]).as_matrix(),
        "trapezoid": lambda x: integrate.trapezoid(x),
    }


def sklearn_calls():
    from sklearn import decomposition, discriminant_analysis, linear_model, metrics, mixture, naive_bayes, preprocessing

    ridge = linear_model.Ridge(solver="svd")
    return {
        "accuracy_score": lambda x, y: metrics.accuracy_score(y, y),
        "r2_score": lambda x, y: metrics.r2_score(x[:, 0], x[:, 1]),
        "f1_score": lambda x, y: metrics.f1_score(y, y),
        "confusion_matrix": lambda x, y: metrics.confusion_matrix(y, y),
        "rbf_kernel": lambda x, y: metrics.pairwise.rbf_kernel(x),
        "StandardScaler": lambda x, y: preprocessing.StandardScaler().fit_transform(x),
        "PolynomialFeatures": lambda x, y: preprocessing.PolynomialFeatures().fit_transform(x),
        "PCA": lambda x, y: abs(decomposition.PCA(2, svd_solver="full").fit_transform(x)),
        "Ridge": lambda x, y: ridge.fit(x, x[:, 0]).predict(x),
        "RidgeClassifier": lambda x, y: linear_model.RidgeClassifier(solver="svd").fit(x, y).predict(x),
        "LogisticRegression": lambda x, y: linear_model.LogisticRegression().fit(x, y).predict_proba(x),
        "LDA": lambda x, y: discriminant_analysis.LinearDiscriminantAnalysis().fit(x, y).predict_proba(x),
        "GaussianNB": lambda x, y: naive_bayes.GaussianNB().fit(x, y).predict_proba(x),
        "GaussianMixture": lambda x, y: mixture.GaussianMixture(2, random_state=0, init_params="random").fit(x).means_,
    }


def compare(name, call, *arrays):
    expected = call(*arrays)
    try:
        got = call(*map(weft.Tensor, arrays))
    except Exception as error:
        print(f"{name}: {type(error).__name__}: {error}")
        return
    values = got.numpy() if isinstance(got, weft.Tensor) else got
    right = np.allclose(values, expected, rtol=1e-6, atol=1e-8)
    print(f"{name}: {type(got).__name__}, {'ok' if right else 'wrong'}")


def gradient_of_logsumexp():
    from scipy import special

    x = weft.Tensor(HOST, requires_grad=True)
    special.logsumexp(x, axis=1).sum().backward()
    right = np.allclose(x.grad.numpy(), special.softmax(HOST, axis=1))
    print(f"gradient of logsumexp: Tensor, {'ok' if right else 'wrong'}")


if sys.argv[1] == "scipy":
    for name, call in scipy_calls().items():
        compare(name, call, HOST)
    gradient_of_logsumexp()
else:
    import sklearn

    with sklearn.config_context(array_api_dispatch=True):
        for name, call in sklearn_calls().items():
            compare(name, call, TABLE, LABELS)
