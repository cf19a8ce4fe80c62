"""Similar users: an index that grows while it is queried, and what the neighbours like."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from recsys.exceptions import ArtifactError, NotFittedError
from recsys.retrieval.hybrid import Hybrid, find_similar
from recsys.retrieval.user_index import MIN_ROOM, UserIndex
from recsys.retrieval.user_user import GrowingModel, UserUser
from recsys.types import Floats, RatingMatrix
from tests.factories import tiny_world


def ratings() -> RatingMatrix:
    catalog, interactions = tiny_world()
    return interactions.to_matrix(catalog)


def row(values: dict[int, float]) -> RatingMatrix:
    """Write one history, rating by position."""
    given = sorted(values.items())
    places, found = [place for place, _ in given], np.array([rating for _, rating in given], dtype=np.float32)
    return csr_matrix((found, ([0] * len(places), places)), shape=(1, len(tiny_world()[0])))


def points(n: int, seed: int = 0) -> Floats:
    found = np.random.default_rng(seed).normal(size=(n, 8)).astype(np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def fill(n: int) -> UserIndex:
    index = UserIndex(8)
    index.insert(range(100, 100 + n), points(n), [f"row {place}" for place in range(n)])
    return index


def test_the_index_finds_the_nearest_by_cosine() -> None:
    found, cosines = fill(300).query(points(5, seed=1), 10)
    exact = points(5, seed=1) @ points(300).T
    assert found.tolist() == np.argsort(-exact, axis=1)[:, :10].tolist()
    np.testing.assert_allclose(cosines, -np.sort(-exact, axis=1)[:, :10], atol=1e-5)
    assert UserIndex(8).query(points(2), 3)[0].shape == (2, 0)
    assert fill(3).query(points(2), 50)[0].shape == (2, 3)


def test_a_user_is_inserted_moved_removed_and_inserted_again() -> None:
    index = fill(MIN_ROOM)
    assert index.insert([7], -points(1)) == [MIN_ROOM]  # one more than there was room for
    assert index.query(-points(1), 1)[0].tolist() == [[MIN_ROOM]]
    assert index.insert([7], points(1, seed=5)) == [MIN_ROOM]
    assert index.query(points(1, seed=5), 1)[0].tolist() == [[MIN_ROOM]]
    assert index.remove(7)
    assert not index.remove(7)
    assert not index.remove(8)
    assert MIN_ROOM not in index.query(points(1, seed=5), MIN_ROOM + 1)[0]
    assert index.insert([7], points(1, seed=5)) == [MIN_ROOM]
    assert index.query(points(1, seed=5), 1)[0].tolist() == [[MIN_ROOM]]


def test_graph_and_id_map_survive_the_disk(tmp_path: Path) -> None:
    paths = tmp_path / "users.hnsw", tmp_path / "users.json"
    fill(80).save(*paths, made_of="these")
    loaded = UserIndex.load(*paths, made_of="these")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["users.hnsw", "users.json"]
    assert (loaded.user_ids, loaded.digests) == (fill(80).user_ids, fill(80).digests)
    assert loaded.find(150) == 50
    for one, other in zip(loaded.query(points(4, seed=2), 9), fill(80).query(points(4, seed=2), 9), strict=True):
        assert np.array_equal(one, other)
    assert loaded.insert([1], points(1, seed=3)) == [80]


def test_a_damaged_or_stale_index_is_refused(tmp_path: Path) -> None:
    graph, id_map = tmp_path / "users.hnsw", tmp_path / "users.json"
    fill(80).save(graph, id_map)
    with pytest.raises(ArtifactError, match="stale"):
        UserIndex.load(graph, id_map, made_of="others")
    good, content = graph.read_bytes(), json.loads(id_map.read_text())
    flipped = bytearray(good)
    flipped[len(good) // 2] ^= 1
    for damaged in (bytes(flipped), good[:-20], b""):
        graph.write_bytes(damaged)
        with pytest.raises(ArtifactError, match="not the graph"):
            UserIndex.load(graph, id_map)
    graph.write_bytes(good)
    content["user_ids"][3] = 5
    for damaged_map, message in ((json.dumps(content), "altered"), ("{", "cannot be read"), ("[]", "cannot be read")):
        id_map.write_text(damaged_map)
        with pytest.raises(ArtifactError, match=message):
            UserIndex.load(graph, id_map)


def test_neighbours_are_the_most_similar_and_their_praise_adds_up() -> None:
    """Compare with the definition, written down over dense matrices."""
    given = ratings()
    model = UserUser(n_neighbours=12, n_compared=160, n_dimensions=40, rarity=0.3, sharpness=2.0, damping=0.4)
    model.fit(given[:150], tiny_world()[0])
    dense = given.toarray()
    evidence = np.where(dense > 0, np.clip((dense - 3) / 5, 0.1, 1.4), 0)
    rated = np.maximum((dense[:150] > 0).sum(axis=0), 1)
    weighted = evidence * (150 / rated) ** 0.3
    units = weighted / np.linalg.norm(weighted, axis=1, keepdims=True)
    praise = np.where(dense[:150] >= 7, (dense[:150] - 5) / 5, 0)
    likes = np.maximum((dense[:150] >= 7).sum(axis=0), 1)
    for user in range(150, 160):
        cosines = units[:150] @ units[user]
        near = np.argsort(-cosines, kind="stable")[:12]
        expected = cosines[near] ** 2 @ praise[near] / likes**0.4
        np.testing.assert_allclose(model.score(given[user])[0], expected, rtol=1e-3, atol=1e-6)


def test_an_inserted_user_is_a_neighbour_of_others_until_removed() -> None:
    model = UserUser(n_neighbours=3).fit(ratings(), tiny_world()[0])
    odd, alike = row({1: 10, 18: 10, 33: 10, 40: 9}), row({1: 10, 18: 10, 33: 10})
    before = model.score(alike)
    assert model.insert(5_000, odd)
    assert not model.insert(5_000, odd)
    assert not model.insert(5_001, row({}))
    assert not model.insert(5_002, ratings()[3])  # a user of the training, who is there already
    assert list(model.inserted) == [5_000]
    with_them = model.score(alike)
    assert with_them[0, 40] > before[0, 40]
    assert model.insert(5_000, row({1: 10, 18: 10, 33: 10, 7: 9}))
    assert model.score(alike)[0, 7] > before[0, 7]
    assert model.remove(5_000)
    assert not model.remove(5_000)
    assert not model.remove(-1)
    assert not model.insert(-1, odd)
    np.testing.assert_allclose(model.score(alike), before)
    assert model.insert(5_000, odd)
    np.testing.assert_allclose(model.score(alike), with_them)


def test_inserted_users_are_not_stored_with_a_version(tmp_path: Path) -> None:
    model = UserUser().fit(ratings(), tiny_world()[0])
    before = model.score(ratings()[:9])
    model.insert(5_000, row({1: 10, 18: 10, 33: 10, 40: 9}))
    model.save(tmp_path)
    loaded = UserUser.load(tmp_path)
    assert loaded.inserted == {}
    assert np.array_equal(loaded.score(ratings()[:9]), before)


def test_an_index_of_another_number_of_users_is_refused(tmp_path: Path) -> None:
    UserUser().fit(ratings(), tiny_world()[0]).save(tmp_path)
    other = UserUser.load(tmp_path)
    other._index.insert([9], np.ones((1, other._projection.shape[1]), dtype=np.float32))
    from recsys.retrieval.user_user import digest_array

    made_of = digest_array(other._projection)
    other._index.save(tmp_path / "user_user.hnsw", tmp_path / "user_user.json", made_of)
    with pytest.raises(ArtifactError, match=r"names 161 users, user_user\.npz 160"):
        UserUser.load(tmp_path)


@pytest.mark.parametrize("model", [UserUser(), Hybrid()], ids=["user-user", "hybrid"])
def test_insertions_and_queries_at_the_same_time_leave_one_consistent_model(model: UserUser | Hybrid) -> None:
    """Many threads insert and query; afterwards the answers are those of a model that learned everybody in peace."""
    given, catalog = ratings(), tiny_world()[0]
    crowd, calm = (type(model)().fit(given[:60], catalog) for _ in range(2))
    rows = [given[user] for user in range(60, 160)]

    def work(number: int) -> None:
        for step in range(number, len(rows), 10):
            crowd.insert(1000 + step, rows[step])
            scores = crowd.score(rows[(step * 7) % len(rows)])
            assert np.isfinite(scores).all()
            assert scores.any()

    with ThreadPoolExecutor(20) as pool:
        list(pool.map(work, [number % 10 for number in range(20)]))
    for step, one in enumerate(rows):
        calm.insert(1000 + step, one)
    assert crowd.inserted == calm.inserted
    assert len(crowd.inserted) == len({one.tobytes() for one in (r.toarray() for r in rows)})
    for one in rows[:20]:
        np.testing.assert_allclose(crowd.score(one), calm.score(one), rtol=1e-4, atol=1e-6)


def test_what_learns_while_it_serves_says_so() -> None:
    assert isinstance(UserUser(), GrowingModel)
    assert isinstance(Hybrid(), GrowingModel)
    for use in (lambda: UserUser().insert(1, row({1: 9})), lambda: UserUser().remove(1), UserUser().get_vectors):
        with pytest.raises(NotFittedError):
            use()


def test_similar_titles_are_the_nearest_of_those_with_ratings() -> None:
    vectors = np.array([[1, 0], [1, 0.1], [0, 1], [1, 0.05]], dtype=np.float32)
    found = find_similar(vectors, np.array([True, True, True, False]), 1).toarray()
    assert np.argmax(found, axis=1)[:3].tolist() == [1, 0, 1]
    assert not found[3].any()
    assert not found[:, 3].any()
    assert find_similar(vectors, np.zeros(4, dtype=bool), 2).nnz == 0
