# What the studies' R scripts share. Called as
#     Rscript rscript.R SCRIPT FOLDER [NUMBER ...]
# it runs SCRIPT, which finds `folder`, `numbers`, and matrices by name in the folder.

words <- commandArgs(trailingOnly = TRUE)
folder <- words[2]
numbers <- as.numeric(words[-(1:2)])

cpu_seconds <- function() sum(proc.time()[c("user.self", "sys.self")])
place <- function(name) file.path(folder, paste0(name, ".bin"))

# A file holds rows, columns, then the entries by columns, all as doubles. NaN stands for a missing value.
read_matrix <- function(name) {
  connection <- file(place(name), "rb")
  on.exit(close(connection))
  size <- readBin(connection, "double", 2)
  entries <- readBin(connection, "double", prod(size))
  entries[is.nan(entries)] <- NA
  matrix(entries, size[1], size[2])
}

write_matrix <- function(entries, name) {
  entries <- as.matrix(entries)
  connection <- file(place(name), "wb")
  on.exit(close(connection))
  writeBin(as.double(c(dim(entries), entries)), connection)
}

# Lower triangles, column by column, of a list of square matrices: one row each.
stack_triangles <- function(matrices) {
  do.call(rbind, lapply(matrices, function(entries) entries[lower.tri(entries, diag = TRUE)]))
}

source(words[1])
