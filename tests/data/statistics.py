# Reads data sets as statistics.R does. Writes for each the two-sided exact p of scipy's signed-rank test, which knows no ties: "nan" for
# those; then mean and Student's 95 % interval.
import sys
from scipy import stats

for line in sys.stdin:
    d = [float(v) for v in line.split(",")]
    sizes = [abs(v) for v in d]
    tied = 0.0 in d or len(set(sizes)) < len(sizes)
    p = float("nan") if tied else stats.wilcoxon(d, mode="exact").pvalue
    mean, low, high = stats.tmean(d), *stats.t.interval(0.95, len(d) - 1, stats.tmean(d), stats.sem(d))
    print(",".join(repr(float(v)) for v in (p, mean, low, high)))
