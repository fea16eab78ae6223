# Reads data sets, a line each, numbers separated by commas. Writes for each: two-sided p of the signed-rank test (zeros dropped, ties
# shared), the Hodges-Lehmann estimate, its exact 95 % interval, mean and Student's 95 % interval; then all p adjusted by Holm and by
# Benjamini and Hochberg, a line each.
suppressPackageStartupMessages(library(exactRankTests))
p <- c()
for (line in readLines(file("stdin"))) {
  d <- as.numeric(strsplit(line, ",")[[1]])
  n <- length(d)
  tied <- any(d == 0) || any(duplicated(abs(d)))
  p <- c(p, wilcox.exact(d)$p.value)
  if (tied) {
    sums <- outer(d, d, "+") / 2
    walsh <- sort(sums[lower.tri(sums, diag = TRUE)])
    k <- qsignrank(0.025, n)
    rank <- c(median(walsh), walsh[k], walsh[length(walsh) + 1 - k])
  } else {
    test <- wilcox.test(d, conf.int = TRUE, exact = TRUE)
    rank <- c(test$estimate, test$conf.int)
  }
  student <- t.test(d)
  cat(sprintf("%.17g", c(tail(p, 1), rank, student$estimate, student$conf.int)), sep = ",")
  cat("\n")
}
cat(sprintf("%.17g", p.adjust(p, "holm")), sep = ",")
cat("\n")
cat(sprintf("%.17g", p.adjust(p, "BH")), sep = ",")
cat("\n")
