# Reads pairs of data sets, a pair each line, numbers separated by commas, the two by a semicolon. Writes for each: two-sided p of the rank-sum
# test (ties shared; twice the smaller tail), the Hodges-Lehmann shift of the first to the second, and its exact 95 % interval.
suppressPackageStartupMessages(library(exactRankTests))
for (line in readLines(file("stdin"))) {
  sets <- lapply(strsplit(line, ";")[[1]], function(set) as.numeric(strsplit(set, ",")[[1]]))
  x <- sets[[1]]
  y <- sets[[2]]
  if (any(duplicated(c(x, y)))) {
    # Where ties make the distribution lopsided this package's two-sided p is of distances from its mean.
    p <- min(1, 2 * min(wilcox.exact(x, y, alternative = "less")$p.value, wilcox.exact(x, y, alternative = "greater")$p.value))
    differences <- sort(outer(x, y, "-"))
    k <- qwilcox(0.025, length(x), length(y))
    shift <- c(median(differences), differences[k], differences[length(differences) + 1 - k])
  } else {
    test <- wilcox.test(x, y, conf.int = TRUE, exact = TRUE)
    p <- test$p.value
    shift <- c(test$estimate, test$conf.int)
  }
  cat(sprintf("%.17g", c(p, shift)), sep = ",")
  cat("\n")
}
